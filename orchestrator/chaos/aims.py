"""What a scenario is for, beyond the rules: each of its expectations, met or missed.

Those of who was refused are hard: a run that misses one has failed in every world.
The others, of time and of how full it was, are soft: they depend on the machine, so
a live run does not fail for them; a simulated one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.chaos.demand import Due
from orchestrator.chaos.phases import Fared, Phase
from orchestrator.chaos.recovery import NO_CALM, Recovery
from orchestrator.chaos.scenario import Expectations
from orchestrator.chaos.strict import kind_of
from orchestrator.workload.heard import End, Heard

INTERACTIVE = "interactive"


@dataclass(frozen=True, slots=True)
class Aim:
    """One expectation, as a sentence with the figure that was found."""

    is_met: bool
    sentence: str
    is_hard: bool = False


def aims(
    expect: Expectations,
    dues: Sequence[Due],
    heard: Sequence[Heard],
    groups: Sequence[Fared],
    recoveries: Sequence[Recovery],
    totals: Mapping[str, int],
) -> Iterator[Aim]:
    """Nothing for what was not expected."""
    poison = {due.number for due in dues if due.is_poison}
    refused = [one for one in heard if one.end is End.REFUSED and one.number not in poison]
    yield from _of_refused(expect, refused)
    if (ttft_s := expect.ttft_p99_s) is not None:
        yield from _ttft(ttft_s, groups)
    if (times := expect.tpot_times) is not None:
        yield from _tpot(times, groups)
    if (recovery_s := expect.recovery_s) is not None:
        yield from (_recovered(recovery_s, one) for one in recoveries if _is_judged(one))
    if (silence_s := expect.silence_s) is not None:
        yield from (_silent(silence_s, one) for one in recoveries)
    if (least := expect.crowding_min) is not None:
        preemptions = totals.get("preemptions", 0)
        found = f"{preemptions} preemptions and {len(refused)} refused"
        is_met = preemptions + len(refused) >= least
        yield Aim(is_met, f"{found}, at least {least} expected")


def _of_refused(expect: Expectations, refused: Sequence[Heard]) -> Iterator[Aim]:
    if (most := expect.refused_max) is not None:
        yield Aim(len(refused) <= most, f"{len(refused)} refused, at most {most} expected", True)
    if (classes := expect.refused_classes) is not None:
        others = sum(one.request_class not in classes for one in refused)
        yield Aim(not others, f"{others} refused that are not {' or '.join(classes)}", True)


def _ttft(most_s: float, groups: Sequence[Fared]) -> Iterator[Aim]:
    for group in groups:
        if (group.request_class, group.phase) == (INTERACTIVE, Phase.DURING) and group.ttft_s:
            p99 = group.ttft_s["p99"]
            yield Aim(
                p99 <= most_s, f"TTFT p99 of interactive {p99:.3f} s, at most {most_s:g} expected"
            )


def _tpot(most: float, groups: Sequence[Fared]) -> Iterator[Aim]:
    medians = {
        group.phase: group.tpot_s["p50"]
        for group in groups
        if group.request_class == INTERACTIVE and group.tpot_s
    }
    if Phase.BEFORE in medians and Phase.DURING in medians:
        times = medians[Phase.DURING] / medians[Phase.BEFORE]
        yield Aim(
            times <= most, f"TPOT p50 of interactive {times:.2f} times, at most {most:g} expected"
        )


def _is_judged(one: Recovery) -> bool:
    """Of a fault after which nobody asked there is nothing to say; a bad calm must be told."""
    return one.is_known or one.unknown == NO_CALM


def _recovered(most_s: float, one: Recovery) -> Aim:
    kind = kind_of(one.struck.fault.fault)
    if not one.is_known:
        return Aim(False, f"recovery from {kind} is unknown: {one.unknown}")
    if one.seconds is None:
        return Aim(False, f"no recovery from {kind} was seen, {most_s:g} s expected")
    is_met = one.seconds <= most_s
    return Aim(is_met, f"recovery from {kind} in {one.seconds:.2f} s, {most_s:g} expected")


def _silent(most_s: float, one: Recovery) -> Aim:
    kind, silence_s = kind_of(one.struck.fault.fault), one.silence_s
    sentence = f"a stream was silent for {silence_s:.2f} s during {kind}, {most_s:g} expected"
    return Aim(silence_s <= most_s, sentence)
