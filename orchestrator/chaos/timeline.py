"""One run as a picture: when each request was due and how long its first token took.

Above, a dot for each request; those that got no token stand at the top edge.
Below, goodput: the share of requests, of those due in each second, that met
their objectives. What went wrong is a band behind both. Coordinates are those
of the SVG that page.html writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from orchestrator.chaos.demand import demand
from orchestrator.chaos.phases import is_good
from orchestrator.chaos.run import Run
from orchestrator.chaos.strict import kind_of
from orchestrator.workload.heard import Heard

WIDTH, HEIGHT = 960, 330
LEFT, RIGHT = 50, 945
DOTS_TOP, DOTS_BOTTOM = 24, 200
GOOD_TOP, GOOD_BOTTOM = 230, 300
BAND_WIDTH_MIN = 3.0  # so that what takes no time is seen
LABEL_ROWS = 4
TICKS = 10


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    kind: str  # of its end
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    x: float
    width: float
    label: str
    label_y: float
    is_spike: bool


@dataclass(frozen=True, slots=True)
class Tick:
    at: float  # x of a vertical one, y of a horizontal one
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    dots: tuple[Dot, ...]
    bands: tuple[Band, ...]
    goodput: str  # points of a polyline
    seconds: tuple[Tick, ...]
    latencies: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Scales:
    seconds_max: float
    ttft_s_max: float

    def x(self, at_s: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * min(at_s, self.seconds_max) / self.seconds_max, 1)

    def y(self, ttft_s: float) -> float:
        share = min(ttft_s, self.ttft_s_max) / self.ttft_s_max
        return round(DOTS_BOTTOM - (DOTS_BOTTOM - DOTS_TOP) * share, 1)


def timeline(run: Run) -> Timeline:
    scales = scales_of(run)
    return Timeline(
        dots=tuple(dot(one, scales) for one in run.observed.heard),
        bands=tuple(bands(run, scales)),
        goodput=goodput(run, scales),
        seconds=tuple(
            Tick(scales.x(at_s), f"{at_s:g}")
            for at_s in (scales.seconds_max * n / TICKS for n in range(TICKS + 1))
        ),
        latencies=tuple(
            Tick(scales.y(ttft_s), f"{ttft_s:.3g}")
            for ttft_s in (scales.ttft_s_max * n / 4 for n in range(5))
        ),
    )


def scales_of(run: Run) -> Scales:
    heard, struck = run.observed.heard, run.observed.struck
    ends = [one.ended_s for one in struck] + [one.due_s for one in heard]
    ttfts = [one.ttft_s for one in heard if one.ttft_s is not None]
    return Scales(
        seconds_max=float(ceil(max([run.scenario.seconds, *ends]))),
        ttft_s_max=max([0.05, *ttfts]) * 1.1,
    )


def dot(one: Heard, scales: Scales) -> Dot:
    ttft_s = one.ttft_s
    y = float(DOTS_TOP) if ttft_s is None else scales.y(ttft_s)
    waited = "no token" if ttft_s is None else f"TTFT {ttft_s:.3f} s"
    label = f"request {one.number} ({one.tag}): {one.end.value} {one.code}, {waited}"
    return Dot(scales.x(one.due_s), y, one.end.value, label)


def bands(run: Run, scales: Scales) -> Iterator[Band]:
    """Spikes first, so that faults lie over them."""
    spans = [
        (spike.at_s, spike.at_s + spike.seconds, f"{load.tag} x{spike.times:g}", True)
        for load in run.scenario.loads
        for spike in load.spikes
    ]
    spans += [
        (one.began_s, one.ended_s, kind_of(one.fault.fault), False) for one in run.observed.struck
    ]
    for number, (began_s, ended_s, label, is_spike) in enumerate(spans):
        x = scales.x(began_s)
        width = max(BAND_WIDTH_MIN, round(scales.x(ended_s) - x, 1))
        yield Band(x, width, label, DOTS_TOP + 12.0 * (number % LABEL_ROWS + 1), is_spike)


def goodput(run: Run, scales: Scales) -> str:
    """A point for each second in which something was due that objectives judge."""
    dues = demand(run.scenario, run.seed)
    shares: dict[int, list[bool]] = {}
    heard = {one.number: one for one in run.observed.heard}
    for due in dues:
        if due.number in heard:
            good = is_good(due, heard[due.number], run.scenario.objectives)
            if good is not None:
                shares.setdefault(int(due.due_s), []).append(good)
    return " ".join(points(sorted(shares.items()), scales))


def points(shares: Sequence[tuple[int, list[bool]]], scales: Scales) -> Iterator[str]:
    for second, goods in shares:
        share = goods.count(True) / len(goods)
        y = round(GOOD_BOTTOM - (GOOD_BOTTOM - GOOD_TOP) * share, 1)
        yield f"{scales.x(second + 0.5)},{y}"
