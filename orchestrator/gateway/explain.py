"""A request's record in words and milliseconds, for people.

A story of a few sentences (where it stands, what it waited for, why it went
where it went, where its time went) and the timeline that it is drawn from. Of
a request that still waits or runs it is the story so far. Prompts and
completions are not in a record, so they cannot be told. What others did to the
cluster (costs, and what is said of other replicas) is told to operators alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from orchestrator.control.seams import Clock
from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.record import Event, Happened, Look, Placed, Record
from orchestrator.gateway.stretches import Attempt, Stretch
from orchestrator.gateway.timeline import Entry, happening, timeline
from orchestrator.policy.admit import AdmitReason
from orchestrator.policy.route import Offer, RouteReason

OTHERS_TOLD_MAX = 3  # of the replicas that were not chosen, the cheapest


class State(Enum):
    """Where a request is in its life."""

    WAITING = "waiting"  # no replica has said anything of it yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of it."""

    request_id: str
    request_class: str
    tenant: str
    state: str
    outcome: str | None
    replica: str | None
    reason: str | None
    trace_id: str | None
    words: tuple[str, ...]
    timeline: tuple[Entry, ...]

    def to_json(self) -> dict[str, Any]:
        told = asdict(self)
        told["class"] = told.pop("request_class")
        return told


WAITS = {
    AdmitReason.BEHIND_OTHERS.value: "behind others in the line",
    AdmitReason.NO_ROOM.value: "for room: every replica was full",
    AdmitReason.NO_REPLICA.value: "for a replica: none took work",
}
ROUTES = {
    RouteReason.PREFIX_HIT: "nobody holds more of its prompt",
    RouteReason.COPY: "more of its prompt is held elsewhere, and copying that is quicker",
    RouteReason.BALANCE: "a longer hit elsewhere saves less than that replica's queue costs",
    RouteReason.ROOM: "the replica that holds most of its prompt had no room",
    RouteReason.LOAD: "nobody holds any of its prompt, and this one costs least",
}


def explain(record: Record, clock: Clock, caller: Caller = ANYBODY) -> Explanation:
    """What became of it until now, as far as it is this caller's business."""
    state = state_of(record)
    return Explanation(
        request_id=record.request_id,
        request_class=record.request_class.value,
        tenant=record.tenant,
        state=state.value,
        outcome=record.outcome,
        replica=record.replica_id,
        reason=record.reason,
        trace_id=record.trace_id,
        words=tuple(_story(record, state, clock.now_ns(), caller)),
        timeline=timeline(record, caller),
    )


def state_of(record: Record) -> State:
    if record.ended_ns is not None:
        return State.ENDED
    return State.WAITING if record.first_token_ns is None else State.RUNNING


# ---- the story


def _story(record: Record, state: State, now_ns: int, caller: Caller) -> Iterator[str]:
    yield _opening(record, state, now_ns)
    for stretch in record.stretches:
        if stretch.reasons:
            yield _waiting(stretch, now_ns)
    last = max(
        (event for event in record.events if isinstance(event, Placed)), key=_at, default=None
    )
    for event in sorted(record.events, key=_at):
        if isinstance(event, Happened):
            yield f"After {_ms(event.at_ns - record.began_ns)} {happening(event, caller)}."
        elif event is last:
            yield _choice(event.look, caller)
            if caller.is_operator:
                yield from _others(event.look)
    for attempt in record.attempts:
        yield from _replicas_part(attempt, several=record.choices > 1)
    if record.left_out:
        yield f"{record.left_out} further entries found no room in its record."


def _opening(record: Record, state: State, now_ns: int) -> str:
    who = f"A request of class {record.request_class.value}"
    who += f" of tenant {record.tenant}" if record.tenant else ""
    size = f"{record.prompt_tokens} prompt tokens, {record.hit_tokens} of them found in a cache"
    match state:
        case State.WAITING:
            return f"{who} has waited for {_ms(now_ns - record.began_ns)} so far."
        case State.RUNNING:
            so_far = f"{record.completion_tokens} tokens after {_ms(now_ns - record.began_ns)}"
            return f"{who} runs ({size}): {so_far}, the first after {_ttft(record)}."
        case State.ENDED:
            assert record.ended_ns is not None, "it has ended"
            end = f"{who} ended {record.outcome} after {_ms(record.ended_ns - record.began_ns)}"
            if record.first_token_ns is None:
                return f"{end}, without a token."
            tokens = f"{record.completion_tokens} tokens"
            return f"{end} ({size}): {tokens}, the first after {_ttft(record)}."


def _ttft(record: Record) -> str:
    assert record.first_token_ns is not None, "it has spoken"
    return _ms(record.first_token_ns - record.began_ns)


def _waiting(stretch: Stretch, now_ns: int) -> str:
    reasons = " and ".join(WAITS.get(reason, reason) for reason in stretch.reasons)
    if stretch.ended_ns is None:
        return (
            f"It waits in the gateway's line, {_ms(now_ns - stretch.began_ns)} by now, {reasons}."
        )
    return f"It waited {_ms(stretch.ended_ns - stretch.began_ns)} in the gateway's line {reasons}."


def _choice(look: Look, caller: Caller) -> str:
    placement = look.placement
    blocks = f"{placement.hit_blocks} of its {look.subject.prompt_blocks} blocks were there"
    if placement.source is not None:
        blocks += f", {placement.source_blocks} were to be copied from {placement.source}"
    cost = f", estimated cost {_s(placement.cost.total_s)}" if caller.is_operator else ""
    return (
        f"It went to {placement.replica_id} ({placement.reason.value}): "
        f"{ROUTES[placement.reason]}; {blocks}{cost}."
    )


def _others(look: Look) -> Iterator[str]:
    chosen = look.placement.replica_id
    others = [offer for offer in look.offers() if offer.replica.replica_id != chosen]
    for offer in others[:OTHERS_TOLD_MAX]:
        total = _s(offer.cost.total_s)
        yield f"{offer.replica.replica_id} would have cost {total}: {_terms(offer)}."


def _terms(offer: Offer) -> str:
    cost = offer.cost
    terms = f"queue {_s(cost.queue_s)}, prefill {_s(cost.prefill_s)} with {offer.hit_blocks} blocks"
    if offer.source is not None:
        copied_to = offer.hit_blocks + offer.copied_blocks
        terms += f", {_s(cost.copy_s)} to copy up to {copied_to} of them"
    if cost.blocks_missing:
        terms += f", {_s(cost.room_s)} for {cost.blocks_missing} blocks that it lacked"
    return f"{terms}, others {_s(cost.others_s)}, pressure {_s(cost.pressure_s)}"


def _replicas_part(attempt: Attempt, *, several: bool) -> Iterator[str]:
    """What the replica has said of its own time."""
    for choice, account in sorted(attempt.accounts.items()):
        which = f" of choice {choice}" if several else ""
        parts = [f"decoding{which} took {_ms(account.decode_ns)}"]
        if account.chunks:
            steps = "one step" if account.chunks == 1 else f"{account.chunks} steps"
            parts.insert(0, f"prefill took {_ms(account.prefill_ns)} in {steps}")
            parts.insert(0, f"it queued {_ms(account.queue_ns)}")
        if account.preemptions:
            parts.append(f"it was preempted {account.preemptions} times")
        yield f"At {attempt.replica_id} {', '.join(parts)}."


def _at(event: Event) -> int:
    return event.at_ns


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1_000_000:.1f} ms"


def _s(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
