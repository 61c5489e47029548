"""`blockyard simulate`: replay a workload on a simulated cluster and report.

The same dispatch, policies, scheduler and block pool as in production, in
virtual time. It needs neither a GPU nor Ray, Redis or torch.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from orchestrator.control.seams import Clock
from orchestrator.finite_range import FiniteRange
from orchestrator.out_file import TO_FILE, drawable, placed, write_json, writing
from orchestrator.replay.recording import Recording, RecordingRefused
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Outcome, PlainClients
from orchestrator.sim.cost_model_file import H100_8B, BadCostModel, load_cost_model
from orchestrator.sim.hosts import GatewayHost
from orchestrator.sim.plot import plot
from orchestrator.sim.policies import OURS, POLICIES
from orchestrator.sim.progress import Progress
from orchestrator.sim.report import Report, report
from orchestrator.sim.setting import Setting
from orchestrator.sim.world import WorldConfig, simulate
from orchestrator.workload.drawing import CannotPlot, require_matplotlib
from orchestrator.workload.synthetic import WORKLOADS, synthesize
from orchestrator.workload.trace_file import CSV_COLUMNS, BadTrace, load_file
from orchestrator.workload.traffic import Arrival, Traffic
from protos.messages import Request
from replicas.config import COPY_BYTES_PER_S

SYNTHETIC = "synthetic:"
POSITIVE = click.IntRange(1)
TIMES = {"ttft_s": ("p50", "p90", "p99", "mean"), "tpot_s": ("p50", "p99")}
# A long run is sampled: checking all blocks takes as long as hundreds of steps.
CHECK_EVERY_STEPS = 5000
CHECK_EVERY_ANSWERS = 20


@click.command(name="simulate")
@click.option(
    "--trace",
    required=True,
    metavar=f"FILE|{SYNTHETIC}NAME",
    help=f"A .jsonl.xz, .jsonl or .csv file (with the columns {','.join(CSV_COLUMNS)}),"
    f" or {SYNTHETIC} and one of {', '.join(WORKLOADS)}.",
)
@click.option("--replicas", type=click.IntRange(1, 1024), default=8, show_default=True)
@click.option("--gateways", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--blocks",
    type=click.IntRange(1, 10_000_000),
    default=4000,
    show_default=True,
    help="Of each replica.",
)
@click.option("--block-size", type=click.IntRange(1, 65_536), help="Default: the trace's own.")
@click.option("--policy", type=click.Choice(list(POLICIES)), default=OURS, show_default=True)
@click.option("--speed", type=FiniteRange(0.001, 1000), default=1.0, show_default=True)
@click.option("--requests", type=POSITIVE, help="Only the first so many of the workload.")
@click.option("--spread", is_flag=True, help="Spread arrivals that the trace rounded to ticks.")
@click.option("--stale-ms", type=FiniteRange(0, 600_000), default=0.0, help="Age of load reports.")
@click.option("--no-copies", is_flag=True, help="Replicas copy no blocks from each other.")
@click.option(
    "--copy-gbps",
    type=FiniteRange(0.001, 100_000),
    default=COPY_BYTES_PER_S * 8 / 1e9,
    show_default=True,
    help="Of each replica's link to the others, in Gbit/s.",
)
@click.option(
    "--cost-model",
    default=H100_8B,
    show_default=True,
    metavar=f"{H100_8B}|FILE",
    help="What steps cost: terms in JSON, or what `blockyard bench engine --json` wrote.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "json_path", type=TO_FILE, callback=placed, help="Write the report here.")
@click.option("--plot", "plot_path", type=TO_FILE, callback=drawable, help="Draw a picture here.")
@click.option(
    "--record",
    "record_path",
    type=TO_FILE,
    callback=placed,
    help="Record placements here, for `blockyard replay`.",
)
def command(
    *,
    trace: str,
    replicas: int,
    gateways: int,
    blocks: int,
    block_size: int | None,
    policy: str,
    speed: float,
    requests: int | None,
    spread: bool,
    stale_ms: float,
    no_copies: bool,
    copy_gbps: float,
    cost_model: str,
    seed: int,
    json_path: Path | None,
    plot_path: Path | None,
    record_path: Path | None,
) -> None:
    """Replay a workload on a simulated cluster, in virtual time."""
    if record_path is not None and policy != OURS:
        raise click.UsageError(f"--record is for --policy {OURS}: replay decides by no other")
    try:
        recording = Recording(record_path) if record_path is not None else None
        if plot_path is not None:
            require_matplotlib()
        traffic = load_traffic(trace, seed)
        traffic = traffic.spread(seed) if spread else traffic
        traffic = replace(traffic, arrivals=traffic.arrivals[:requests]).faster(speed)
        setting = Setting(
            trace=trace,
            speed=speed,
            requests_max=requests,
            spread=spread,
            replicas=replicas,
            gateways=gateways,
            blocks=blocks,
            block_size=block_size or traffic.block_size,
            stale_ms=stale_ms,
            copies=not no_copies,
            copy_gbps=copy_gbps,
            cost_model=cost_model,
        )
        config = world_of(setting, policy, seed)
    except (BadTrace, BadCostModel, CannotPlot, RecordingRefused) as error:
        raise click.ClickException(str(error)) from error
    began = time.perf_counter()
    with uncollected(), Progress("requests ended", len(traffic.arrivals)) as progress:
        clients = CountedClients(progress)
        history = simulate(config, traffic, checkers(), clients=clients, recording=recording)
    if recording is not None:
        recording.close()
    summary = report(history, wall_s=time.perf_counter() - began)
    # First what needs no file: a disk that is full shall not cost the figures.
    click.echo(f"{text_of(summary)}\n{setting.words(seed)}")
    write_json(json_path, document(summary, setting))
    if plot_path is not None:
        with writing(plot_path):
            plot(history, plot_path)


def world_of(setting: Setting, policy: str, seed: int) -> WorldConfig:
    """The cluster that was asked for. Raises BadCostModel."""
    return WorldConfig(
        replicas=setting.replicas,
        gateways=setting.gateways,
        blocks=setting.blocks,
        block_size=setting.block_size,
        policy=policy,
        seed=seed,
        cost_model=load_cost_model(setting.cost_model),
        stale_s=setting.stale_ms / 1000,
        copying=setting.copies,
        link_bytes_per_s=round(setting.copy_gbps * 1e9 / 8),
    )


def document(summary: Report, setting: Setting) -> dict[str, Any]:
    """The figures, and what they are of. Without an answer there are no times: null."""
    figures = asdict(summary)
    for name, keys in TIMES.items():
        figures[name] = dict.fromkeys(keys) | figures[name]
    return figures | asdict(setting)


class CountedClients(PlainClients):
    """Plain clients whose ends somebody counts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    async def ask(
        self,
        gateways: Sequence[GatewayHost],
        clock: Clock,
        arrival: Arrival,
        request: Request,
    ) -> Outcome:
        outcome = await super().ask(gateways, clock, arrival, request)
        self._progress.step()
        return outcome


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cycle collector: a run makes hardly any cycles, and walking prompts is slow."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def checkers() -> Checkers:
    return Checkers(every_steps=CHECK_EVERY_STEPS, every_answers=CHECK_EVERY_ANSWERS)


def load_traffic(source: str, seed: int) -> Traffic:
    """The workload of this name, or in this file. Raises BadTrace."""
    if not source.startswith(SYNTHETIC):
        return load_file(Path(source))
    name = source.removeprefix(SYNTHETIC)
    if name not in WORKLOADS:
        raise BadTrace(f"{source}: choose one of {', '.join(WORKLOADS)}")
    return synthesize(name, seed)


def text_of(summary: Report) -> str:
    """The figures that matter most, for a person."""
    ttft, tpot = summary.ttft_s, summary.tpot_s
    return "\n".join(
        (
            f"{summary.policy}: {summary.completed} of {summary.requests} requests completed,"
            f" {summary.refused} refused {summary.refused_by_code or ''}",
            "  TTFT s  " + "  ".join(f"{name} {value:.3f}" for name, value in ttft.items()),
            "  TPOT s  " + "  ".join(f"{name} {value:.4f}" for name, value in tpot.items()),
            f"  hit blocks {summary.hit_blocks_ratio:.1%}  imbalance {summary.imbalance:.2f}"
            f"  preemptions {summary.preemptions}"
            f"  recomputed tokens {summary.recomputed_tokens}",
            f"  {summary.virtual_s:.0f} virtual s in {summary.wall_s:.1f} s,"
            f" {summary.events_per_s:.0f} events/s, trace {summary.trace_hash}",
        )
    )
