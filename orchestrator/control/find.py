"""Which sequence a person means, and whether it can go where he wants it.

He names it as a status table shows it, by its sequence id, by its request and
choice, or by the request alone; or as a client does, by the id of its answer
or by the `x-request-id` that it sent, which requests carry in front of their
own. More than one answer is more than one match; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.control.tracked import ReplicaStatus
from protos.messages import ReplicaId, SequenceReport, Standing

ANSWER_PREFIXES = ("chatcmpl-", "cmpl-")


@dataclass(frozen=True, slots=True)
class Located:
    """One sequence and where it is."""

    status: ReplicaStatus
    sequence: SequenceReport

    @property
    def replica_id(self) -> ReplicaId:
        return self.status.record.replica_id

    def __str__(self) -> str:
        return f"{self.sequence.sequence_id} at {self.replica_id}"


def sequences_named(statuses: Iterable[ReplicaStatus], name: str) -> tuple[Located, ...]:
    """All that the name may mean, in the narrowest sense that means anything."""
    located = [Located(s, sequence) for s in statuses for sequence in s.sequences]
    for prefix in ANSWER_PREFIXES:
        name = name.removeprefix(prefix)
    senses = (
        [one for one in located if one.sequence.sequence_id == name],
        [one for one in located if f"{one.sequence.request_id}/{one.sequence.choice}" == name],
        [one for one in located if one.sequence.request_id == name],
        [one for one in located if one.sequence.request_id.rpartition("-")[0] == name],
    )
    return tuple(next((sense for sense in senses if sense), []))


def move_objection(one: Located, target: ReplicaStatus) -> str | None:
    """Why it cannot move there, as far as reports tell: a sentence, or None."""
    target_id = target.record.replica_id
    if one.replica_id == target_id:
        return f"{one.sequence.sequence_id} is at {target_id} already"
    if target.record.card != one.status.record.card:
        return f"{target_id} serves another model, revision or layout than {one.replica_id}"
    if target.standing is not Standing.OPEN:
        return f"{target_id} takes no work: it is {target.phase.value}"
    silent = [status for status in (one.status, target) if not status.is_fresh]
    if silent:
        return f"{silent[0].record.replica_id} has not reported lately"
    if one.sequence.is_waiting:
        return f"{one.sequence.sequence_id} waits for its first step: it has nothing to move yet"
    if not one.sequence.is_movable:
        return f"{one.sequence.sequence_id} moves already, or has siblings yet to part from"
    return None


def listed(matches: Sequence[Located]) -> str:
    return ", ".join(str(one) for one in matches)
