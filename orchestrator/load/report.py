"""What a run amounts to: latencies, and beside them everything that has none.

A request that was refused, broke or was never answered has no latency to
spoil a percentile with, so its number stands next to every percentile, and
goodput is counted over all that were due. Latencies count from the due time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain

from orchestrator.load.spikes import Spike
from orchestrator.workload.heard import End, Heard
from orchestrator.workload.quantiles import Figures, percentile, spread_of

PERCENTS = (50, 90, 99)
# From here on the sender's own lateness is part of what it measured.
LATE_S_MAX = 0.02
LATE_SHARE_MAX = 0.1  # of the TTFT
BUSY_MAX = 0.8
# A server that has too much to do, or nobody to do it, says so; as an event of a stream, under 200.
TURNED_AWAY = frozenset(
    {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a request must keep to count as goodput."""

    ttft_s: float
    tpot_s: float

    def are_met_by(self, heard: Heard) -> bool:
        """One token alone has no time between tokens to miss."""
        if heard.end is not End.ANSWERED or heard.ttft_s is None:
            return False
        return heard.ttft_s <= self.ttft_s and (heard.tpot_s or 0.0) <= self.tpot_s


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of some of the requests."""

    requests: int
    answered: int
    refused: dict[str, int]  # by code, as the next two
    broken: dict[str, int]
    unanswered: dict[str, int]
    left: int
    good: int
    good_share: float  # of all requests
    prompt_tokens: int
    hit_tokens: int
    hit_ratio: float | None  # None: the server told of none
    tokens: int
    reconnections: int
    ttft_s: Figures
    tpot_s: Figures
    itl_s: Figures
    e2e_s: Figures


@dataclass(frozen=True, slots=True)
class Sender:
    """How well the sender kept to its own plan."""

    late_s: Figures
    busy: float  # share of a core
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    seconds: float  # in which requests were due
    under_way: int  # when the run was interrupted; they count nowhere else
    goodput_per_s: float
    tokens_per_s: float
    overall: Part
    by_tag: dict[str, Part]
    by_phase: dict[str, Part]  # before, in, between and after spikes
    sender: Sender


def report(
    heard: Sequence[Heard],
    objectives: Objectives,
    *,
    seconds: float,
    spikes: Sequence[Spike] = (),
    under_way: int = 0,
    busy: float = 0.0,
) -> Report:
    """Fold what was heard."""
    overall = _part(heard, objectives)
    heard_s = max((one.ended_s for one in heard), default=0.0)
    return Report(
        seconds=seconds,
        under_way=under_way,
        goodput_per_s=overall.good / seconds if seconds else 0.0,
        tokens_per_s=overall.tokens / heard_s if heard_s else 0.0,
        overall=overall,
        by_tag=_parts(heard, objectives, lambda one: one.tag),
        by_phase=_parts(heard, objectives, lambda one: phase_of(one.due_s, spikes))
        if spikes
        else {},
        sender=_sender(heard, overall, busy),
    )


def failures(heard: Iterable[Heard]) -> int:
    """How many got neither an answer nor a refusal of a server that may turn work away."""
    return sum(
        one.end in (End.BROKEN, End.UNANSWERED)
        or (one.end is End.REFUSED and one.status not in TURNED_AWAY)
        for one in heard
    )


def phase_of(due_s: float, spikes: Sequence[Spike]) -> str:
    """In a spike, or between which ones. Spikes are in order of time."""
    before = [spike for spike in spikes if spike.at_s <= due_s]
    if not before:
        return "before"
    last = before[-1]
    word = "spike" if due_s < last.ends_s else "after"
    return f"{word} at {last.at_s:g} s" if len(spikes) > 1 else word


def _parts(
    heard: Iterable[Heard], objectives: Objectives, name_of: Callable[[Heard], str]
) -> dict[str, Part]:
    """One for each name, in the order in which they first were due."""
    groups: dict[str, list[Heard]] = {}
    for one in sorted(heard, key=lambda one: (one.due_s, one.number)):
        groups.setdefault(name_of(one), []).append(one)
    return {name: _part(group, objectives) for name, group in groups.items() if name}


def _part(heard: Sequence[Heard], objectives: Objectives) -> Part:
    ends = Counter(one.end for one in heard)
    good = sum(map(objectives.are_met_by, heard))
    prompt_tokens = sum(one.prompt_tokens for one in heard)
    hit_tokens = sum(one.hit_tokens for one in heard)
    return Part(
        requests=len(heard),
        answered=ends[End.ANSWERED],
        refused=_codes(heard, End.REFUSED),
        broken=_codes(heard, End.BROKEN),
        unanswered=_codes(heard, End.UNANSWERED),
        left=ends[End.LEFT],
        good=good,
        good_share=good / len(heard) if heard else 0.0,
        prompt_tokens=prompt_tokens,
        hit_tokens=hit_tokens,
        hit_ratio=hit_tokens / prompt_tokens if hit_tokens and prompt_tokens else None,
        tokens=sum(one.tokens for one in heard),
        reconnections=sum(one.connections - 1 for one in heard),
        ttft_s=_spread(one.ttft_s for one in heard),
        tpot_s=_spread(one.tpot_s for one in heard),
        itl_s=_spread(chain.from_iterable(one.gaps_s for one in heard)),
        e2e_s=_spread(one.ended_s - one.due_s for one in heard if one.end is End.ANSWERED),
    )


def _codes(heard: Iterable[Heard], end: End) -> dict[str, int]:
    return dict(Counter(one.code for one in heard if one.end is end).most_common())


def _spread(values: Iterable[float | None]) -> Figures:
    ordered = sorted(value for value in values if value is not None)
    return spread_of(ordered, PERCENTS, mean=True)


def _sender(heard: Sequence[Heard], overall: Part, busy: float) -> Sender:
    late_s = sorted(one.sent_s - one.due_s for one in heard)
    warnings = []
    late_s_p99 = percentile(late_s, 99) if late_s else 0.0
    if late_s_p99 > max(LATE_S_MAX, LATE_SHARE_MAX * overall.ttft_s.get("p50", 0.0)):
        warnings.append(
            f"the sender itself was late (p99 {late_s_p99 * 1000:.0f} ms), and the latencies"
            " count that; ask for less, or send from several machines"
        )
    if busy > BUSY_MAX:
        warnings.append(
            f"the sender was busy {busy:.0%} of the time: what it heard, it may have heard late"
        )
    return Sender(spread_of(late_s, PERCENTS, mean=True), busy, tuple(warnings))
