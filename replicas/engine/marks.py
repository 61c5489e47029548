"""What a step does to a sequence besides adding a token: whoever keeps time wants to know.

Decodes leave no mark: each says itself when it was, by its delta.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protos.messages import RequestId
from replicas.engine.sequence import Sequence


class Work(Enum):
    """What happened to it."""

    ADMITTED = "admitted"  # it runs from this step on, for the first time or again
    CHUNK = "chunk"  # a further part of its prompt is computed
    PREEMPTED = "preempted"  # it lost its blocks


@dataclass(frozen=True, slots=True)
class Mark:
    """On one sequence, and on the siblings that have yet to fork from it."""

    request_id: RequestId
    choices: range
    work: Work


def mark(sequence: Sequence, work: Work) -> Mark:
    choices = range(sequence.choice, sequence.choice + 1 + sequence.unforked)
    return Mark(sequence.request.request_id, choices, work)
