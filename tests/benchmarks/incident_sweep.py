"""The incident under other seeds, loads, memories and patience: where its symptoms appear.

    python -m tests.benchmarks.incident_sweep [--seeds 5] [--processes 2]

One thing is varied at a time around the command's own case. For each variation
it counts the seeds in which each symptom appears, by the same rules that the
command prints, and shows the ranges of what they are judged by.
"""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import click

from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.incident.figures import ModelFigures
from orchestrator.sim.incident.incident import Case, folded, simulated_replay
from orchestrator.sim.incident.models import MODELS
from orchestrator.sim.incident.symptoms import rise, tpot_p50, ttft_p50
from orchestrator.sim.loop import NS_PER_S

CASE = Case()
LOAD, POOL = CASE.load, CASE.pool
VARIATIONS = {
    "as the command": CASE,
    "chat 3 times in the spike": replace(CASE, load=replace(LOAD, chat_spike=3.0)),
    "chat 6 times": replace(CASE, load=replace(LOAD, chat_spike=6.0)),
    "agents 0.2/s": replace(CASE, load=replace(LOAD, agent_rate=0.2)),
    "agents 0.5/s": replace(CASE, load=replace(LOAD, agent_rate=0.5)),
    "3,000 blocks": replace(CASE, pool=replace(POOL, blocks=3000)),
    "5,000 blocks": replace(CASE, pool=replace(POOL, blocks=5000)),
    "6,000 blocks": replace(CASE, pool=replace(POOL, blocks=6000)),
    "patience 0.05 s": replace(CASE, pool=replace(POOL, patience_ns=NS_PER_S // 20)),
    "patience 1 s": replace(CASE, pool=replace(POOL, patience_ns=NS_PER_S)),
    "patience 4 s": replace(CASE, pool=replace(POOL, patience_ns=4 * NS_PER_S)),
    "512 tokens a step": replace(CASE, pool=replace(POOL, step_tokens_max=512)),
}


@dataclass(frozen=True)
class Seen:
    """One run."""

    variation: str
    appears: tuple[bool, ...]  # the three symptoms and the cure
    figures: dict[str, ModelFigures]


def look(job: tuple[str, int]) -> Seen:
    variation, seed = job
    case, costs = VARIATIONS[variation], CostModel()
    judged = (model for model in MODELS if model != "paged")
    replays = (simulated_replay(model, seed=seed, case=case, costs=costs) for model in judged)
    result = folded(seed, case, "", replays)
    return Seen(variation, tuple(f.appears for f in result.findings), result.figures)


def line(variation: str, runs: list[Seen]) -> str:
    """A row of the table: counts, then ranges over the seeds."""
    counts = [f"{sum(run.appears[n] for run in runs)}/{len(runs)}" for n in range(4)]
    pinned = [run.figures["contiguous+prefix"] for run in runs]
    shared = [run.figures["paged+sharing"] for run in runs]
    free = [one.free_share_at_agent_failures["p50"] for one in pinned if one.failures]
    ranges = (
        span([rise(one, ttft_p50) for one in pinned], "{:.1f}"),
        span([rise(one, tpot_p50) for one in pinned], "{:.2f}"),
        span([one.spike.agent_failure_ratio for one in pinned], "{:.0%}"),
        span([run.figures["contiguous"].spike.agent_failure_ratio for run in runs], "{:.0%}"),
        span(free, "{:.0%}"),
        span([one.spike.free for one in pinned], "{:.0%}"),
        span(
            [
                ttft_p50(one.spike) / ttft_p50(other.spike)
                for one, other in zip(pinned, shared, strict=True)
            ],
            "{:.1f}",
        ),
        span([len(one.failures) for one in shared], "{:d}"),
    )
    return f"| {' | '.join((variation, *counts, *ranges))} |"


def span(values: list[float] | list[int], form: str) -> str:
    """The least and the most."""
    if not values:
        return "-"
    least, most = form.format(min(values)), form.format(max(values))
    return least if least == most else f"{least} to {most}"


HEAD = (
    *("variation", "1 slow start", "2 OOM with free", "3 trade", "cure"),
    *("TTFT rise", "TPOT rise", "agents failed", "without reuse"),
    *("free at failures, median", "free, mean", "(2) over (4) TTFT", "failures in (4)"),
)


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
def command(*, seeds: int, processes: int) -> None:
    """Print a table, a row for each variation."""
    click.echo(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    with ProcessPoolExecutor(processes, initializer=gc.disable) as pool:
        for variation in VARIATIONS:
            runs = list(pool.map(look, [(variation, seed) for seed in range(seeds)]))
            click.echo(line(variation, runs))


if __name__ == "__main__":
    command()
