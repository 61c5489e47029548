"""The rules that hold in every scenario and every world, and a sentence for each way to break one.

- Every request that was due has an end: an answer, or a reason before its
  first token, within its deadline; or its client left as it meant to.
- A reason is one of those that servers may have (refusals.py); an error that only
  stands where a refusal could is none.
- What a client heard is what it would have heard undisturbed.
- Where undisturbed answers repeat, nearly all that were given can be compared.
- A request of which replicas die is refused; no other one is refused as such.
- When all is quiet nobody holds anything, and the servers' own checks held.

Pure: the scenario and seed say what was due, the observation what came of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from orchestrator.chaos.compare import Difference, common_prefix, difference, difference_of_part
from orchestrator.chaos.demand import Due
from orchestrator.chaos.refusals import is_typed
from orchestrator.chaos.world import Observed
from orchestrator.workload.heard import End, Heard

POISON = "poison_request"
STREAM_BROKEN = "stream_broken"
# After the deadline: a client on a busy machine notices late. In an exact world none does.
LATE_S_MAX = 5.0
# Share of the answers; with more, little was proved. In an exact world all can be compared.
NOT_COMPARED_MAX = 0.1
ROUNDING_S = 1e-6


def breaches(dues: tuple[Due, ...], observed: Observed, *, deadline_s: float) -> Iterator[str]:
    """Every rule that was broken, a sentence each."""
    if not dues:
        yield "nothing was due: nothing was proved"
    yield from _attendance(dues, observed)
    late_s_max = ROUNDING_S if observed.is_exact else LATE_S_MAX
    due_of = {due.number: due for due in dues}
    for heard in observed.heard:
        due = due_of.get(heard.number)
        if due is not None:
            yield from _of_one(due, heard, deadline_s, late_s_max)
            yield from _of_words(heard, observed.expected)
    yield from _of_comparison(dues, observed)
    yield from (f"leak: {leak}" for leak in observed.leaks)
    yield from (f"the servers broke a rule of their own: {rule}" for rule in observed.broken)


def wrong_streams(observed: Observed) -> Counter[Difference]:
    """How many streams are wrong, and how."""
    return Counter(
        found for heard in observed.heard for _, found in _differences(heard, observed.expected)
    )


def not_compared(dues: tuple[Due, ...], observed: Observed) -> tuple[int, int]:
    """Of how many answers nobody knows what is right, and how many answers there are."""
    poison = {due.number for due in dues if due.is_poison}
    answered = [one.number for one in observed.heard if one.end is End.ANSWERED]
    judged = [number for number in answered if number not in poison]
    return sum(number not in observed.expected for number in judged), len(judged)


def _of_comparison(dues: tuple[Due, ...], observed: Observed) -> Iterator[str]:
    unknown, answers = not_compared(dues, observed)
    most = 0.0 if observed.is_exact else NOT_COMPARED_MAX
    if observed.is_repeatable and unknown > most * answers:
        yield f"{unknown} of {answers} answers could not be compared"


def _attendance(dues: tuple[Due, ...], observed: Observed) -> Iterator[str]:
    """Each request has one record."""
    times = Counter(heard.number for heard in observed.heard)
    for due in dues:
        if times[due.number] != 1:
            yield f"request {due.number} was due once and has {times[due.number]} records"
    for number in sorted(times.keys() - {due.number for due in dues}):
        yield f"request {number} has a record and was never due"


def _of_one(due: Due, heard: Heard, deadline_s: float, late_s_max: float) -> Iterator[str]:
    """Its end, whatever it says."""
    label = f"request {heard.number} ({heard.tag}, due at {heard.due_s:.3f} s)"
    took_s = heard.ended_s - heard.due_s
    is_poisoned = heard.code == POISON
    match heard.end:
        case End.UNANSWERED:
            why = f": {heard.code}" if heard.code else ""
            yield f"{label} got neither an answer nor a reason in {deadline_s:g} s{why}"
        case End.BROKEN if not (due.is_poison and is_poisoned):
            code = heard.code or "an end that is none"
            yield f"{label} was broken off after {heard.tokens} tokens: {code}"
        case End.REFUSED if not heard.code:
            yield f"{label} was refused without a reason"
        case End.REFUSED if heard.code != STREAM_BROKEN and not is_typed(heard):
            status = f" and HTTP {heard.status}" if heard.status else ""
            yield f"{label} was refused with {heard.code!r}{status}: that is a failure, no refusal"
        case End.LEFT if due.leaves_after_s is None:
            yield f"{label} is said to have left, and did not mean to"
        case End.ANSWERED if due.is_poison:
            yield f"{label} is one that replicas die of, and was answered"
        case _:
            pass
    if heard.end is not End.UNANSWERED and took_s > deadline_s + late_s_max:
        yield f"{label} ended after {took_s:.1f} s, beyond its deadline of {deadline_s:g} s"
    if is_poisoned and not due.is_poison:
        yield f"{label} was refused as poison, and is none"
    if heard.code == STREAM_BROKEN:
        yield f"{label} was given tokens that do not add up: a server has a bug"


def _of_words(heard: Heard, expected: Mapping[int, tuple[str, ...]]) -> Iterator[str]:
    for choice, found in _differences(heard, expected):
        said, meant = said_by(heard, choice), expected[heard.number][choice]
        yield (
            f"request {heard.number} ({heard.tag}), choice {choice}: {found.value},"
            f" {len(said)} characters where {len(meant)} are right,"
            f" the first {common_prefix(said, meant)} agree"
        )


def _differences(
    heard: Heard, expected: Mapping[int, tuple[str, ...]]
) -> Iterator[tuple[int, Difference]]:
    """Of each choice that is wrong. Whoever left, or was cut off, has a beginning only."""
    meant = expected.get(heard.number)
    if meant is None:
        return
    compare = difference if heard.end is End.ANSWERED else difference_of_part
    for choice, right in enumerate(meant):
        said = said_by(heard, choice)
        if (found := compare(said, right)) is not None:
            yield choice, found


def said_by(heard: Heard, choice: int) -> str:
    """Nothing, where nothing came of the choice."""
    return heard.said[choice] if choice < len(heard.said) else ""
