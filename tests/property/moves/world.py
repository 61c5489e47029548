"""One sequence, two replicas and a gateway, as a state that can be copied and compared.

The two machines are the production ones. What they act upon is a model: an
engine's sequence and its export at the source, a reservation and a parked
sequence at the target (with the contracts of replicas.engine.export and
.arrival), a gateway that follows one of them, and a channel that loses,
duplicates, reorders and breaks. Real engines would be too slow to copy some
hundred thousand times. What `Departure` and `Reception` promise is followed:
one thing after the other, blocks between two steps only, and a look at the
export before anything is believed.

A payload is its block's number and how many of its tokens are in place; a
token's value is its index. What goes wrong (faults of the channel, crashes,
cut links, a client that leaves, a preemption, no room) is paid for from a
budget of faults; deadlines and the end of a grace come whenever they like.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from copy import copy
from enum import Enum
from functools import partial
from operator import attrgetter
from typing import TypeAlias

from protos.messages import ModelCard, ReplicaId, Request, RequestId, SampledToken, SamplingParams
from protos.moves import DeclineReason, MoveId, MoveOutcome, Reserve, ToSource, ToTarget
from replicas.shell.moves.effects import (
    Admit,
    Admitted,
    Answer,
    Copied,
    Copy,
    Drop,
    Expired,
    Failed,
    Freeze,
    Frozen,
    GiveAway,
    Gone,
    InboundEffect,
    InboundEvent,
    Keep,
    Lost,
    MakeRoom,
    OutboundEffect,
    OutboundEvent,
    Recall,
    Room,
    Tell,
    Write,
    Wrote,
)
from replicas.shell.moves.inbound import Host, Inbound, InboundState
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
Event: TypeAlias = "tuple[str, Callable[[World], None]]"
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


class World:
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
        self._source_does(outbound.open())

    # ---- what an exploration needs

    def copy(self) -> World:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def key(self) -> Hashable:
        return OUTBOUND_FIELDS(self.outbound), INBOUND_FIELDS(self.inbound), FIELDS(self)

    def events(self) -> Iterator[Event]:
        if self.source_up:
            yield from self._source_events()
        if self.target_up:
            yield from self._target_events()
        yield from self._gateway_events()
        if self.faults:
            yield from self._faults()

    def check(self) -> None:
        is_over = self.outbound.outcome is not None
        assert not (is_over and self.source_up and self.is_exported), "an export left open"
        assert not (is_over and self.source_life is Life.FROZEN), "frozen for ever"
        if self.target_up and self.inbound.is_over:
            assert self.place is not Place.RESERVED, "room is held for a move that is over"
        if self.inbound.state is InboundState.ABORTED:
            assert not self.is_target_parked, "a copy waits that its source has recalled"
        runs_at_source = self.source_life is Life.RUNNING and not self.is_source_parked
        runs_at_target = self.target_life is Life.RUNNING and not self.is_target_parked
        assert not (runs_at_source and runs_at_target), "two copies run, and neither waits"
        if self.source_life is Life.GIVEN:
            assert self.admissions, "given away, and nobody has it"
            assert self.outbound.outcome is MoveOutcome.MOVED, "given away by no move"

    def check_end(self) -> None:
        assert self.follows in (Follows.WHOLE, Follows.LEFT), f"it follows {self.follows.value}"
        if self.follows is Follows.WHOLE:
            assert self.delivered == self.tokens_max, "tokens are missing"
        if self.source_up:
            assert self.outbound.outcome is not None, "the source waits for ever"
            assert self.source_life not in ALIVE, f"{self.source_life.value} at the source"
        if self.target_up:
            assert self.inbound.is_over, "the target waits for ever"
            assert self.place is not Place.RESERVED, "room is held for ever"
            assert self.target_life not in ALIVE, f"{self.target_life.value} at the target"

    # ---- the source

    @property
    def computed(self) -> int:
        """Decodes feed all tokens but the last one."""
        return len(PROMPT) + self.said - 1

    def _source_events(self) -> Iterator[Event]:
        if self.source_life is Life.RUNNING:
            yield "source steps", World._source_steps
        if self.source_life is Life.PREEMPTED:
            yield "source admits it again", World._source_admits_again
        if self.is_source_parked and self.source_life in ALIVE:
            yield "source ends its grace", World._source_cancels
        if self.cancel_at is Follows.SOURCE:
            yield "source hears of the cancellation", World._source_cancels
        if self.outbound.outcome is None:
            yield "source's deadline passes", World._source_expires
            if self.source_asked is not None:
                yield "source comes to a boundary", World._source_boundary
                return
            if self.to_source:
                yield "source hears the target", World._source_hears
            if self.is_broken:
                yield "source notices the loss", World._source_loses
        elif not self.is_broken:
            yield "source hangs up", World._break

    def _source_steps(self) -> None:
        self.said += 1
        if self.is_source_linked:
            self.told = self.said
        if self.said == self.tokens_max:
            self._source_ends(Life.FINISHED)

    def _source_admits_again(self) -> None:
        self.source_life = Life.RUNNING

    def _source_cancels(self) -> None:
        self.cancel_at = None if self.cancel_at is Follows.SOURCE else self.cancel_at
        if self.source_life in ALIVE:
            self._source_ends(Life.CANCELLED)

    def _source_ends(self, life: Life) -> None:
        self.source_life = life
        self.is_exported = False

    def _source_expires(self) -> None:
        self.source_asked = None
        self._source_takes(Expired())

    def _source_loses(self) -> None:
        self.to_source = ()
        self._source_takes(Lost("lost"))

    def _source_hears(self) -> None:
        message, *rest = self.to_source
        self.to_source = tuple(rest)
        self._source_takes(message)

    def _source_boundary(self) -> None:
        asked, self.source_asked = self.source_asked, None
        assert asked is not None
        if not self.is_exported:
            self._source_takes(Gone())
            return
        stop = -(-self.computed // BLOCK_SIZE)
        match asked:
            case Copy(first, stop):
                assert stop * BLOCK_SIZE <= self.computed, "a copy of a block that still fills"
                self._source_takes(Copied(self._payloads(first, stop), self.computed))
            case Freeze(first, blocks_max) if stop - first > blocks_max:
                self._source_takes(Copied((), self.computed))
            case Freeze(first):
                assert self.source_life is Life.RUNNING, "frozen twice"
                self.source_life = Life.FROZEN
                said = tuple(SampledToken(index) for index in range(self.said))
                self._source_takes(Frozen(self._payloads(first, stop), self.computed, said))

    def _payloads(self, first: int, stop: int) -> tuple[bytes, ...]:
        return tuple(
            bytes((block, min(BLOCK_SIZE, self.computed - block * BLOCK_SIZE)))
            for block in range(first, stop)
        )

    def _source_takes(self, event: OutboundEvent) -> None:
        self.outbound = copy(self.outbound)
        self._source_does(self.outbound.handle(event if self.is_exported else Gone()))

    def _source_does(self, effects: tuple[OutboundEffect, ...]) -> None:
        for effect in effects:
            assert self.source_asked is None, "something is asked for before the answer"
            match effect:
                case Tell(message):
                    if not self.is_broken:
                        self.to_target += (message,)
                case Copy() | Freeze():
                    self.source_asked = effect
                case Keep():
                    assert self.is_exported, "kept after its end"
                    self.is_exported = False
                    if self.source_life is Life.FROZEN:
                        self.source_life = Life.RUNNING
                case GiveAway():
                    assert self.source_life is Life.FROZEN, "given away while it runs"
                    self._source_ends(Life.GIVEN)
                    self.is_handoff_told = self.is_source_linked
        if self.outbound.outcome is not None:
            self.to_source = ()

    # ---- the target

    def _target_events(self) -> Iterator[Event]:
        if self.target_life is Life.RUNNING:
            yield "target steps", World._target_steps
        if self.is_target_parked:
            yield "target ends its grace", World._target_forgets
        if self.follows is Follows.CLAIMING or self.cancel_at is Follows.CLAIMING:
            yield "target hears the claim", World._target_hears_claim
        if self.cancel_at is Follows.TARGET:
            yield "target hears of the cancellation", World._target_cancels
        if not self.inbound.is_over:
            yield "target's deadline passes", World._target_expires
        if self.target_asked is not None:
            yield "target comes to a boundary", World._target_boundary
            return
        if self.to_target:
            yield "target hears the source", World._target_hears
        if self.inbound.is_over:
            if not self.is_broken:
                yield "target hangs up", World._break
        elif self.is_broken:
            yield "target notices the loss", World._target_loses

    def _target_steps(self) -> None:
        self.target_said += 1
        if self.target_said == self.tokens_max:
            self.target_life = Life.FINISHED

    def _target_forgets(self) -> None:
        self.is_target_parked = False
        if self.target_life is Life.RUNNING:
            self.target_life = Life.CANCELLED

    def _target_hears_claim(self) -> None:
        was_here, self.is_target_parked = self.is_target_parked, False
        if self.cancel_at is Follows.CLAIMING:  # and the cancellation comes right behind
            self.cancel_at = Follows.TARGET
        elif was_here:
            assert self.delivered <= self.target_said, "a token would be missing"
            self.follows = Follows.TARGET
        else:
            self.follows = Follows.NOBODY

    def _target_cancels(self) -> None:
        self.cancel_at = None
        if self.target_life is Life.RUNNING and not self.is_target_parked:
            self.target_life = Life.CANCELLED

    def _target_expires(self) -> None:
        self.target_asked = None
        self._target_takes(Expired())

    def _target_loses(self) -> None:
        self.to_target = ()
        self._target_takes(Lost("lost"))

    def _target_hears(self) -> None:
        message, *rest = self.to_target
        self.to_target = tuple(rest)
        self._target_takes(message)

    def _target_boundary(self) -> None:
        asked, self.target_asked = self.target_asked, None
        match asked:
            case MakeRoom():
                self.place = Place.RESERVED
                self.table = (BLOCK_SIZE,) * HELD
                self._target_takes(Room(HELD))
            case Write(first, payloads) if self.place is Place.RESERVED:
                assert HELD <= first <= len(self.table), "written where nothing may be written"
                numbers = [payload[0] for payload in payloads]
                assert numbers == list(range(first, first + len(payloads))), "foreign KV"
                filled = tuple(payload[1] for payload in payloads)
                self.table = (*self.table[:first], *filled)
                self._target_takes(Wrote())
            case _:
                self._target_takes(_no_room())

    def _target_takes(self, event: InboundEvent) -> None:
        self.inbound = copy(self.inbound)
        self._target_does(self.inbound.handle(event))

    def _target_does(self, effects: tuple[InboundEffect, ...]) -> None:
        for effect in effects:
            assert self.target_asked is None, "something is asked for before the answer"
            match effect:
                case Answer(message):
                    if not self.is_broken and self.outbound.outcome is None:
                        self.to_source += (message,)
                case MakeRoom() | Write():
                    self.target_asked = effect
                case Drop():
                    if self.place is Place.RESERVED:
                        self.place = Place.DROPPED
                case Admit():
                    self._target_takes(self._admit(effect))
                case Recall():
                    if self.is_target_parked:
                        self._target_forgets()

    def _admit(self, asked: Admit) -> InboundEvent:
        if self.place is Place.DROPPED:
            return _no_room()
        assert self.place is Place.RESERVED, "admitted twice"
        self.admissions += 1
        assert [token.token for token in asked.said] == list(range(len(asked.said))), "foreign said"
        assert len(asked.said) == asked.computed - len(PROMPT) + 1, "KV and tokens disagree"
        for block in range(-(-asked.computed // BLOCK_SIZE)):
            wanted = min(BLOCK_SIZE, asked.computed - block * BLOCK_SIZE)
            has = self.table[block] if block < len(self.table) else 0
            assert has >= wanted, f"block {block} lacks KV"
        self.place = Place.ADMITTED
        self.target_life = Life.RUNNING
        self.target_said = len(asked.said)
        self.is_target_parked = True
        return Admitted()

    # ---- the gateway

    def _gateway_events(self) -> Iterator[Event]:
        match self.follows:
            case Follows.SOURCE:
                if self.delivered < self.told or self.is_handoff_told or self._is_end_told():
                    yield "gateway reads the source", World._gateway_reads_source
                if not self.is_source_linked:
                    yield "gateway loses the source", World._gateway_resumes_elsewhere
            case Follows.TARGET:
                if self.target_up and self.delivered < self.target_said:
                    yield "gateway reads the target", World._gateway_reads_target
                elif self.target_up and self.target_life is Life.FINISHED:
                    yield "gateway reads the end", World._gateway_has_all
                elif not self.target_up or self.target_life is Life.CANCELLED:
                    yield "gateway loses the target", World._gateway_resumes_elsewhere
            case Follows.CLAIMING:
                if not self.target_up:
                    yield "gateway finds no target", World._gateway_resumes_elsewhere
            case Follows.NOBODY:
                yield "another replica says the rest", World._gateway_is_told_the_rest

    def _is_end_told(self) -> bool:
        return self.source_life is Life.FINISHED and self.told == self.said

    def _gateway_reads_source(self) -> None:
        if self.delivered < self.told:
            self.delivered = self.told
        elif self.is_handoff_told:
            self.follows = Follows.CLAIMING
        else:
            self._gateway_has_all()

    def _gateway_reads_target(self) -> None:
        self.delivered = self.target_said

    def _gateway_has_all(self) -> None:
        self.follows = Follows.WHOLE

    def _gateway_resumes_elsewhere(self) -> None:
        self.follows = Follows.NOBODY

    def _gateway_is_told_the_rest(self) -> None:
        self.delivered = self.tokens_max
        self.follows = Follows.WHOLE

    # ---- what goes wrong

    def _faults(self) -> Iterator[Event]:
        for name, happens in self._possible_faults():
            yield name, partial(_pay, happens)

    def _possible_faults(self) -> Iterator[Event]:
        for index in range(len(self.to_target)):
            yield f"message {index} to the target is lost", partial(_lose_to_target, index)
            yield f"message {index} to the target comes twice", partial(_repeat_to_target, index)
            if index:
                yield f"message {index} to the target overtakes", partial(_hurry_to_target, index)
        for index in range(len(self.to_source)):
            yield f"message {index} to the source is lost", partial(_lose_to_source, index)
            yield f"message {index} to the source comes twice", partial(_repeat_to_source, index)
            if index:
                yield f"message {index} to the source overtakes", partial(_hurry_to_source, index)
        if not self.is_broken:
            yield "the channel breaks", World._break
        if self.follows in FOLLOWING:
            yield "the client leaves", World._client_leaves
        if self.source_up:
            yield "the source dies", World._source_dies
            if self.source_life in (Life.RUNNING, Life.FROZEN):
                yield "the source preempts it", World._source_preempts
            if self.is_source_linked:
                yield "the gateway's link to the source breaks", World._cut_source
        if self.target_up:
            yield "the target dies", World._target_dies
            if self.place is Place.RESERVED:
                yield "the target needs the room itself", World._target_needs_room
            if isinstance(self.target_asked, MakeRoom):
                yield "the target has no room", World._target_refuses
            if self.follows is Follows.TARGET:
                yield "the gateway's link to the target breaks", World._cut_target

    def _break(self) -> None:
        """What is on its way may still arrive, or be lost when the loss is noticed."""
        self.is_broken = True

    def _client_leaves(self) -> None:
        reachable = (Follows.CLAIMING, Follows.TARGET) if self.target_up else ()
        if self.follows in reachable or (self.follows is Follows.SOURCE and self.is_source_linked):
            self.cancel_at = self.follows
        self.follows = Follows.LEFT

    def _source_dies(self) -> None:
        self.source_up = False
        self.is_source_linked = False
        self._source_ends(Life.NONE)
        self.source_asked = None
        self.to_source = ()
        self.is_broken = True
        self.cancel_at = None if self.cancel_at is Follows.SOURCE else self.cancel_at

    def _source_preempts(self) -> None:
        self._source_ends(Life.PREEMPTED)

    def _cut_source(self) -> None:
        self.is_source_linked = False
        self.is_source_parked = self.source_life in ALIVE
        self.cancel_at = None if self.cancel_at is Follows.SOURCE else self.cancel_at

    def _target_dies(self) -> None:
        self.target_up = False
        self.target_life = Life.NONE
        self.target_asked = None
        self.is_target_parked = False
        self.to_target = ()
        self.is_broken = True
        if self.cancel_at is not Follows.SOURCE:
            self.cancel_at = None

    def _target_needs_room(self) -> None:
        self.place = Place.DROPPED

    def _target_refuses(self) -> None:
        self.target_asked = None
        self._target_takes(Failed(DeclineReason.REFUSED, "it is full"))

    def _cut_target(self) -> None:
        self.follows = Follows.NOBODY
        self.is_target_parked = self.target_life is Life.RUNNING


def _pay(happens: Callable[[World], None], world: World) -> None:
    world.faults -= 1
    happens(world)


def _lose_to_target(index: int, world: World) -> None:
    world.to_target = world.to_target[:index] + world.to_target[index + 1 :]


def _lose_to_source(index: int, world: World) -> None:
    world.to_source = world.to_source[:index] + world.to_source[index + 1 :]


def _repeat_to_target(index: int, world: World) -> None:
    world.to_target += (world.to_target[index],)


def _repeat_to_source(index: int, world: World) -> None:
    world.to_source += (world.to_source[index],)


def _hurry_to_target(index: int, world: World) -> None:
    message = world.to_target[index]
    _lose_to_target(index, world)
    world.to_target = (message, *world.to_target)


def _hurry_to_source(index: int, world: World) -> None:
    message = world.to_source[index]
    _lose_to_source(index, world)
    world.to_source = (message, *world.to_source)


def _no_room() -> Failed:
    return Failed(DeclineReason.NO_ROOM, "the room is gone")


def world(
    *,
    faults: int,
    tokens_max: int = 4,
    outbound: type[Outbound] = Outbound,
    inbound: type[Inbound] = Inbound,
    kind: type[World] = World,
) -> World:
    """The start: a running sequence, an order to move it, and a target that is open."""
    computed = len(PROMPT)
    source = outbound(RESERVE, computed=computed, limits=LIMITS)
    return kind(source, inbound(HOST), tokens_max=tokens_max, faults=faults)
