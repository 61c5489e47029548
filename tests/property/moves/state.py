"""All that matters of one move: what two replicas, a gateway and a channel are at a moment."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from operator import attrgetter
from typing import Self

from protos.messages import ModelCard, ReplicaId, Request, RequestId, SamplingParams
from protos.moves import MoveId, Reserve, ToSource, ToTarget
from replicas.shell.moves.effects import (
    Copy,
    Freeze,
    MakeRoom,
    Write,
)
from replicas.shell.moves.inbound import Host, Inbound
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.outbound import Outbound

BLOCK_SIZE = 2
CARD = ModelCard("model", "1", "none", BLOCK_SIZE, context_tokens_max=99, vocab_size=99)
PROMPT = (90, 91, 92, 93, 94)
HELD = 1  # leading blocks that the target has
LIMITS = MoveLimits(
    chunk_bytes_max=2, chunks_unacknowledged_max=2, tail_blocks=1, tail_blocks_max=2, stages_max=2
)
REQUEST = Request(RequestId("r"), PROMPT, SamplingParams(tokens_max=9), output=(0,))
RESERVE = Reserve(MoveId("m"), ReplicaId("source"), 7, CARD, REQUEST)
HOST = Host(CARD, 7, is_open=True, is_busy=False)


class Life(Enum):
    """A sequence in one engine."""

    NONE = "none"
    RUNNING = "running"
    FROZEN = "frozen"
    PREEMPTED = "preempted"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    GIVEN = "given"  # away


ALIVE = (Life.RUNNING, Life.FROZEN, Life.PREEMPTED)


class Place(Enum):
    """A reservation at the target."""

    NONE = "none"
    RESERVED = "reserved"
    ADMITTED = "admitted"
    DROPPED = "dropped"


class Follows(Enum):
    """Whom the gateway follows."""

    SOURCE = "source"
    CLAIMING = "claiming"  # a claim is on its way to the target
    TARGET = "target"
    NOBODY = "nobody"  # it resumes the sequence elsewhere next
    WHOLE = "whole"  # it has every token
    LEFT = "left"  # its client has gone


FOLLOWING = (Follows.SOURCE, Follows.CLAIMING, Follows.TARGET, Follows.NOBODY)
FIELDS = attrgetter(
    *("source_up", "source_life", "said", "is_exported", "source_asked", "is_source_parked"),
    *("is_source_linked", "told", "is_handoff_told"),
    *("target_up", "target_life", "place", "table", "target_said", "target_asked"),
    *("is_target_parked", "admissions"),
    *("to_target", "to_source", "is_broken"),
    *("follows", "delivered", "cancel_at", "faults"),
)
OUTBOUND_FIELDS = attrgetter(
    *("state", "outcome", "stages", "_computed", "_next_block", "_stage_end"),
    *("_unacknowledged", "_chunk_blocks"),
)
INBOUND_FIELDS = attrgetter("state", "_held", "_next_block", "_writing_end")


class State:
    """Everything that matters, in fields that do not change in place; so are the machines used."""

    def __init__(
        self, outbound: Outbound, inbound: Inbound, *, tokens_max: int, faults: int
    ) -> None:
        self.outbound, self.inbound = outbound, inbound
        self.tokens_max = tokens_max
        self.source_up = True
        self.source_life = Life.RUNNING
        self.said = 1
        self.is_exported = True
        self.source_asked: Copy | Freeze | None = None
        self.is_source_parked = False
        self.is_source_linked = True
        self.told = 1  # tokens put on the link to the gateway
        self.is_handoff_told = False
        self.target_up = True
        self.target_life = Life.NONE
        self.place = Place.NONE
        self.table: tuple[int, ...] = ()  # tokens in place in each block
        self.target_said = 0
        self.target_asked: MakeRoom | Write | None = None
        self.is_target_parked = False
        self.admissions = 0
        self.to_target: tuple[ToTarget, ...] = ()
        self.to_source: tuple[ToSource, ...] = ()
        self.is_broken = False
        self.follows = Follows.SOURCE
        self.delivered = 0
        self.cancel_at: Follows | None = None  # where a cancellation is on its way to
        self.faults = faults

    def copy(self) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def key(self) -> Hashable:
        return OUTBOUND_FIELDS(self.outbound), INBOUND_FIELDS(self.inbound), FIELDS(self)

    def _break(self) -> None:
        """What is on its way may still arrive, or be lost when the loss is noticed."""
        self.is_broken = True
