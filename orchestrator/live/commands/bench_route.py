"""`blockyard bench route`: what placing a request costs, by part."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from rich.table import Table

from orchestrator.live.bench.route_bench import RouteCases, RouteReport, measure_routing
from orchestrator.live.commands.terminal import progress, show_table, table
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.out_file import TO_FILE, placed, write_json
from protos.registry import RegistryUnavailable

QUICK = RouteCases(prompt_tokens=(640,), replicas=(4,), blocks=20_000, turns=2)


@click.command()
@click.option("--json", "out", type=TO_FILE, callback=placed, metavar="OUT")
@click.option(
    "--redis-url",
    metavar="URL",
    help="A Redis or Valkey that nobody else uses, without TLS or password; default: an embedded "
    "one.",
)
@click.option("--quick", is_flag=True, help="Few blocks and replicas: a look, not a figure.")
def route(out: Path | None, redis_url: str | None, quick: bool) -> None:
    """Naming a prompt's blocks, looking them up and deciding, against a real server."""
    try:
        report = asyncio.run(
            measure_routing(
                QUICK if quick else RouteCases(),
                partial(lent_server, redis_url),
                progress,
                is_lasting=redis_url is not None,
            )
        )
    except (RegistryUnavailable, RuntimeError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    write_json(out, asdict(report))
    show_table(route_table(report))
    click.echo(
        "CPU is this process's for one request: hashing, the lookup's client and the decision; "
        "server: its main thread, by its own words."
    )
    show_table(floor_table(report))
    click.echo(report.conditions.sentence())


@contextmanager
def lent_server(url: str | None) -> Iterator[str]:
    """The given one, or one of our own for as long as it is needed."""
    if url is not None:
        yield url
        return
    with EmbeddedValkey() as server:
        yield server.url


def route_table(report: RouteReport) -> Table:
    """One row per case, in microseconds."""
    made = table(
        "placing a request, us",
        (),
        (
            *("tokens", "replicas", "p50", "p99", "CPU", "of it: hash", "lookup", "decide"),
            *("server's CPU", "hits"),
        ),
    )
    for row in report.rows:
        made.add_row(
            str(row.prompt_tokens),
            str(row.replicas),
            f"{row.p50_us:.0f}",
            f"{row.p99_us:.0f}",
            f"{row.cpu_us:.0f}",
            f"{row.hash_cpu_us:.0f}",
            f"{row.lookup_cpu_us:.0f}",
            f"{row.decide_cpu_us:.0f}",
            f"{row.server_cpu_us:.0f}",
            f"{row.hit_share:.0%}",
        )
    return made


def floor_table(report: RouteReport) -> Table:
    """What asking a server costs at least, in the same run, and what a lookup is to that."""
    made = table(
        "floors, us: p50 / CPU",
        (),
        (
            *("tokens", "replicas", "PING", "MGET of all keys", "PING on a bare socket"),
            "lookup's CPU in PINGs",
        ),
    )
    for row in report.rows:
        made.add_row(
            str(row.prompt_tokens),
            str(row.replicas),
            f"{row.ping_p50_us:.0f} / {row.ping_cpu_us:.0f}",
            f"{row.mget_p50_us:.0f} / {row.mget_cpu_us:.0f}",
            f"{row.socket_p50_us:.0f} / {row.socket_cpu_us:.0f}",
            f"{row.lookup_cpu_us / row.ping_cpu_us:.1f}",
        )
    return made
