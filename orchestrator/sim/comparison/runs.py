"""One simulation of a comparison, and what several seeds of it come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean

from orchestrator.sim.command import checkers, load_traffic, uncollected
from orchestrator.sim.comparison.cases import Case, Contender
from orchestrator.sim.report import Report, report
from orchestrator.sim.world import WorldConfig, simulate
from orchestrator.workload.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Run:
    """All that its outcome depends on."""

    case: Case
    contender: Contender
    seed: int
    traces: Path | None
    requests_max: int | None  # the first so many of the workload


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the seeds of one contender in one case."""

    contender: Contender
    hit_blocks_ratio: float
    ttft_s: dict[str, float]  # by percentile, and the mean
    refused: float
    imbalance: float
    requests: float


def measure(run: Run) -> Report:
    """Simulate it. Raises BadTrace."""
    case = run.case
    traffic = traffic_of(case.source(run.traces), run.seed, case.speed)
    traffic = replace(traffic, arrivals=traffic.arrivals[: run.requests_max])
    config = WorldConfig(
        replicas=case.replicas,
        gateways=case.gateways,
        blocks=case.blocks,
        block_size=traffic.block_size,
        policy=run.contender.policy,
        copying=run.contender.copying,
        seed=run.seed,
        stale_s=case.stale_s,
    )
    with uncollected():
        return report(simulate(config, traffic, checkers()), wall_s=1.0)


@cache  # a process compares a few workloads, under a few seeds
def traffic_of(source: str, seed: int, speed: float) -> Traffic:
    return load_traffic(source, seed).spread(seed).faster(speed)


def rows(reports: Iterable[tuple[Run, Report]], case: Case) -> Sequence[Row]:
    """Of one case, in the order in which contenders came."""
    of_contender: dict[Contender, list[Report]] = {}
    for run, each in reports:
        if run.case == case:
            of_contender.setdefault(run.contender, []).append(each)
    return [row(contender, seeds) for contender, seeds in of_contender.items()]


def row(contender: Contender, seeds: Sequence[Report]) -> Row:
    answered = [each.ttft_s for each in seeds if each.ttft_s]
    names = answered[0] if answered else ()
    return Row(
        contender,
        hit_blocks_ratio=fmean(each.hit_blocks_ratio for each in seeds),
        ttft_s={name: fmean(figures[name] for figures in answered) for name in names},
        refused=fmean(each.refused for each in seeds),
        imbalance=fmean(each.imbalance for each in seeds),
        requests=fmean(each.requests for each in seeds),
    )
