"""What a scenario is for, beyond the rules: each of its expectations, met or missed.

Of those that take time a slow machine misses some, so a live run does not fail
for them; a simulated one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.chaos.demand import Due
from orchestrator.chaos.phases import Fared, Phase
from orchestrator.chaos.recovery import Recovery
from orchestrator.chaos.scenario import Expectations
from orchestrator.chaos.strict import kind_of
from orchestrator.workload.heard import End, Heard

INTERACTIVE = "interactive"


@dataclass(frozen=True, slots=True)
class Aim:
    """One expectation, as a sentence with the figure that was found."""

    is_met: bool
    sentence: str


def aims(
    expect: Expectations,
    dues: Sequence[Due],
    heard: Sequence[Heard],
    groups: Sequence[Fared],
    recoveries: Sequence[Recovery],
) -> Iterator[Aim]:
    """Nothing for what was not expected."""
    poison = {due.number for due in dues if due.is_poison}
    refused = [one for one in heard if one.end is End.REFUSED and one.number not in poison]
    if (most := expect.refused_max) is not None:
        yield Aim(len(refused) <= most, f"{len(refused)} refused, at most {most} expected")
    if (classes := expect.refused_classes) is not None:
        others = sum(one.request_class not in classes for one in refused)
        yield Aim(not others, f"{others} refused that are not {' or '.join(classes)}")
    if (ttft_s := expect.ttft_p99_s) is not None:
        yield from _ttft(ttft_s, groups)
    if (times := expect.tpot_times) is not None:
        yield from _tpot(times, groups)
    if (recovery_s := expect.recovery_s) is not None:
        yield from (_recovered(recovery_s, one) for one in recoveries if one.is_known)


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


def _recovered(most_s: float, one: Recovery) -> Aim:
    kind = kind_of(one.struck.fault.fault)
    if one.seconds is None:
        return Aim(False, f"no recovery from {kind} was seen, {most_s:g} s expected")
    is_met = one.seconds <= most_s
    return Aim(is_met, f"recovery from {kind} in {one.seconds:.2f} s, {most_s:g} expected")
