"""`blockyard bench gateway`: what a gateway costs and adds, over replicas that compute nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from orchestrator.gateway.token_bytes import UnsupportedTokenizer
from orchestrator.live.bench.child import ChildFailed
from orchestrator.live.bench.gateway_bench import GatewayCases, GatewayReport, measure_gateway
from orchestrator.live.commands.terminal import progress, show_table, table
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.out_file import TO_FILE, placed, write_json
from replicas.model.errors import ModelError

QUICK = GatewayCases(streams=8, short_repeats=2, tokens=17, rounds=1, alone=10)


@click.command()
@click.option("--json", "out", type=TO_FILE, callback=placed, metavar="OUT")
@click.option("--model", default="smollm2", show_default=True, metavar="PATH|smollm2")
@click.option("--quick", is_flag=True, help="One short round: a look, not a figure.")
def gateway(out: Path | None, model: str, quick: bool) -> None:
    """CPU for each request and token of a whole gateway, and the time it adds."""
    cases = QUICK if quick else GatewayCases()
    try:
        with EmbeddedValkey() as server:
            report = measure_gateway(cases, model, server.url, "embedded Valkey", progress)
    except (ModelError, UnsupportedTokenizer, ChildFailed, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    write_json(out, asdict(report))
    show_table(gateway_table(report))
    for line in notes(report):
        click.echo(line)


def gateway_table(report: GatewayReport) -> Table:
    """CPU time of the gateway, and how often that of the floor it is."""
    made = table("one gateway process", ("CPU time of",), ("us", "bare uvicorn us", "x"))
    request_us, token_us = report.bare_request_cpu_us, report.bare_token_cpu_us
    for name, spent_us, floor_us in (
        ("a chat, all text new", report.new_cpu_us, request_us),
        ("a chat, system prompt seen before", report.known_cpu_us, request_us),
        ("a streamed token", report.token_cpu_us, token_us),
    ):
        ratio = f"{spent_us / floor_us:.1f}" if floor_us > 0 else "-"
        made.add_row(name, f"{spent_us:.1f}", f"{floor_us:.1f}", ratio)
    return made


def notes(report: GatewayReport) -> list[str]:
    """What is no row, a sentence each."""
    cases = report.cases
    return [
        f"chats of {report.prompt_tokens:.0f} tokens, {cases.streams} at once over "
        f"{cases.replicas} replicas on paper; medians of {cases.rounds} rounds",
        f"{report.requests_per_s:.0f} requests/s of one token through one process, its clients on "
        f"the same machine; {report.requests_per_cpu_s:.0f} for each second of its CPU time",
        f"first token of a request alone: {report.alone_ms:.2f} ms, of which "
        f"{report.alone_link_ms:.2f} ms are the replica's own link and {report.alone_bare_ms:.2f} "
        "ms a bare HTTP exchange",
        report.conditions.sentence(),
    ]
