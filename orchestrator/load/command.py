"""`blockyard load`: ask any OpenAI-compatible server for work, on time, and say how it did."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from orchestrator.client_key import KEY_VARIABLE, client_key
from orchestrator.exit_status import INTERRUPTED
from orchestrator.finite_range import FiniteRange
from orchestrator.load.plan import Plan, Prompts
from orchestrator.load.plot import plot
from orchestrator.load.record import document
from orchestrator.load.report import Objectives, failures, report
from orchestrator.load.run import meet_server, run
from orchestrator.load.server import CannotMeet, Server
from orchestrator.load.spikes import Spike, in_order, parse_spike
from orchestrator.load.table import show
from orchestrator.load.wire import Access
from orchestrator.load.workloads import AFTERMATH_S, SECONDS, SYNTHETIC
from orchestrator.out_file import TO_FILE, drawable, placed, write_json, writing
from orchestrator.workload.drawing import CannotPlot, require_matplotlib
from orchestrator.workload.trace_file import BadTrace
from protos.certificates import BadCertificates
from protos.trust import trusting

RATE = FiniteRange(0.0001, 100_000)
TIMES = FiniteRange(0.001, 1000)
LASTING = FiniteRange(0.001, 7 * 86_400)
OBJECTIVE = FiniteRange(0.000_001, 86_400)
REQUESTS_MAX = 1_000_000
KEY = "OPENAI_API_KEY"  # for servers that are not ours
LASTS = f"Default: {SECONDS:.0f} or {AFTERMATH_S:.0f} after the last spike; all of a trace."


@click.command(name="load")
@click.option(
    "--url",
    "urls",
    multiple=True,
    required=True,
    help="A server; several may be given and take turns.",
)
@click.option(
    "--workload",
    default="chat",
    show_default=True,
    metavar=f"{'|'.join(SYNTHETIC)}|TRACE",
    help="A workload by name, or a .jsonl.xz, .jsonl or .csv file.",
)
@click.option("--rate", type=RATE, help="Requests a second of a named workload; default: 1.")
@click.option("--speed", type=TIMES, help="A trace so many times as fast; default: 1.")
@click.option(
    "--spike",
    "spikes",
    multiple=True,
    metavar="AT:TIMESx[:SECONDS]",
    help="So many times as fast from second AT on, for 10 seconds or so many; repeatable.",
)
@click.option("--seconds", type=LASTING, help=LASTS)
@click.option("--model", help="Default: the first that the server lists.")
@click.option("--api", type=click.Choice(["chat", "completions"]), help="Default: chat.")
@click.option(
    "--prompts",
    type=click.Choice(["text", "tokens"]),
    default="text",
    show_default=True,
    help="tokens: ids, exact in length, by the completions API.",
)
@click.option(
    "--vocab", type=click.IntRange(16), default=32_000, show_default=True, help="Bound of such ids."
)
@click.option("--scale", type=TIMES, default=1.0, show_default=True, help="Of all lengths.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Another seed asks for what no cache has seen.",
)
@click.option(
    "--key", metavar="env:NAME", help=f"Where the API key is; default: {KEY_VARIABLE}, else {KEY}."
)
@click.option(
    "--tls-ca",
    type=click.Path(path_type=Path, exists=True),
    envvar="BLOCKYARD_TLS_CA",
    show_envvar=True,
    help="Believe this authority; a folder: its ca.crt, and show its tls.crt where asked.",
)
@click.option("--ttft-s", type=OBJECTIVE, default=2.0, show_default=True, help="Objective.")
@click.option("--tpot-s", type=OBJECTIVE, default=0.1, show_default=True, help="Objective.")
@click.option(
    "--deadline-s",
    type=LASTING,
    default=300.0,
    show_default=True,
    help="When a client gives up, from the due time on.",
)
@click.option("--resume", is_flag=True, help="Go on after a broken connection, by Last-Event-ID.")
@click.option(
    "--json",
    "json_path",
    type=TO_FILE,
    callback=placed,
    help="Write figures and every request here.",
)
@click.option("--plot", "plot_path", type=TO_FILE, callback=drawable, help="Draw a picture here.")
def command(
    *,
    ttft_s: float,
    tpot_s: float,
    key: str | None,
    tls_ca: Path | None,
    json_path: Path | None,
    plot_path: Path | None,
    **options: Any,
) -> None:
    """Send requests to any OpenAI-compatible server when they are due, and measure its answers.

    Open loop: no request waits for another one's answer, and every latency counts from when
    its request was due. Ctrl-C stops sending and reports what was heard by then.

    Exits with 1 if a request failed: broke off, got no answer, or an error other than 429 and 503,
    by which servers turn work away; with 130 after Ctrl-C.
    """
    try:
        if plot_path is not None:
            require_matplotlib()
        plan = plan_of(**options)
        traffic = plan.traffic()
        if not traffic.arrivals:
            raise click.UsageError("there is nothing to send in that time")
        access = Access(secret_of(key), None if tls_ca is None else trusting(tls_ca))
        server = meet_server(plan, access)
    except (BadTrace, CannotPlot, CannotMeet, BadCertificates) as error:
        raise click.ClickException(str(error)) from error
    click.echo(greeting(plan, server, len(traffic.arrivals)), err=True)
    ran = run(plan, traffic, server, access)
    seconds = plan.seconds_of(traffic)
    summary = report(
        ran.heard,
        Objectives(ttft_s, tpot_s),
        seconds=min(seconds, ran.ended_s) if ran.is_interrupted else seconds,
        spikes=plan.spikes,
        under_way=ran.under_way,
        busy=ran.busy,
    )
    show(summary)  # a disk that is full shall not cost the figures
    if json_path is not None:
        told = {**asdict(plan), "prompts": plan.prompts.value, "model": server.model}
        told |= {"ttft_s": ttft_s, "tpot_s": tpot_s}
        write_json(json_path, document(told, summary, ran.heard))
    if plot_path is not None:
        with writing(plot_path):
            plot(ran.heard, plan.spikes, plot_path)
    if ran.is_interrupted:
        raise SystemExit(INTERRUPTED)
    if failed := failures(ran.heard):
        raise click.ClickException(f"{failed} of {len(ran.heard)} requests failed")


def plan_of(
    *,
    urls: tuple[str, ...],
    workload: str,
    rate: float | None,
    speed: float | None,
    spikes: tuple[str, ...],
    api: str | None,
    prompts: str,
    resume: bool,
    seconds: float | None,
    **same: Any,
) -> Plan:
    """From the options. UsageError where two of them do not go together."""
    if workload in SYNTHETIC and speed is not None:
        raise click.UsageError("--speed is for traces; a named workload has a --rate")
    if workload not in SYNTHETIC and rate is not None:
        raise click.UsageError("--rate is for named workloads; a trace has a --speed")
    if prompts == "tokens" and api == "chat":
        raise click.UsageError("a chat has no token ids: use --api completions")
    try:
        ordered = in_order(map(parse_spike, spikes))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    check_within(ordered, seconds)
    if workload in SYNTHETIC:
        check_size(ordered, rate or 1.0, seconds or SECONDS)
    return Plan(
        urls=tuple(url.rstrip("/").removesuffix("/v1") for url in urls),
        workload=workload,
        prompts=form_of(api, prompts),
        rate=rate or 1.0,
        speed=speed or 1.0,
        spikes=ordered,
        is_resuming=resume,
        seconds=seconds,
        **same,
    )


def check_within(spikes: Sequence[Spike], seconds: float | None) -> None:
    """UsageError where a spike would begin when all is over."""
    for spike in spikes:
        if seconds is not None and spike.at_s >= seconds:
            raise click.UsageError(
                f"the spike at {spike.at_s:g} s begins when the load is over: it takes"
                f" --seconds {seconds:g}"
            )


def check_size(spikes: Sequence[Spike], rate: float, seconds: float) -> None:
    """UsageError where more would be asked than this process can hold."""
    requests = rate * (seconds + sum(spike.times * spike.seconds for spike in spikes))
    if requests > REQUESTS_MAX:
        raise click.UsageError(f"that would be {requests:.3g} requests; {REQUESTS_MAX:,} at most")


def form_of(api: str | None, prompts: str) -> Prompts:
    if prompts == "tokens":
        return Prompts.IDS
    return Prompts.TEXT if api == "completions" else Prompts.CHAT


def secret_of(key: str | None) -> str:
    """The API key; empty where none is set. It is never an argument: those are seen by all."""
    if key is None:
        return client_key(os.environ) or client_key(os.environ, KEY)
    name = key.removeprefix("env:")
    if name == key or name not in os.environ:
        raise click.UsageError("--key names a variable that is set: --key env:NAME")
    return client_key(os.environ, name)


def greeting(plan: Plan, server: Server, requests: int) -> str:
    """What is about to happen, and on what assumptions."""
    words = f"{requests} requests to {server.model} at {', '.join(plan.urls)}"
    if plan.prompts is not Prompts.IDS:
        words += (
            "; the server does not report prompt tokens, 4 characters are taken for one"
            if server.ruler is None
            else f"; {server.ruler.characters_per_token:.2f} characters a token"
        )
    return words if server.takes_ignore_eos else f"{words}; answers end where the model likes"
