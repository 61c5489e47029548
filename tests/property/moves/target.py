"""The target of a move: a reservation, then a parked copy, around the real machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy

from protos.moves import DeclineReason
from replicas.shell.moves.effects import (
    Admit,
    Admitted,
    Answer,
    Drop,
    Expired,
    Failed,
    InboundEffect,
    InboundEvent,
    Lost,
    MakeRoom,
    Recall,
    Room,
    Write,
    Wrote,
)
from tests.property.moves.state import (
    BLOCK_SIZE,
    HELD,
    PROMPT,
    Follows,
    Life,
    Place,
    State,
)


class Target(State):
    """Contracts of replicas.engine.arrival; one thing after the other, as `Reception` does it."""

    def _target_events(self) -> Iterator[tuple[str, Callable[[Target], None]]]:
        if self.target_life is Life.RUNNING:
            yield "target steps", Target._target_steps
        if self.is_target_parked:
            yield "target ends its grace", Target._target_forgets
        if self.follows is Follows.CLAIMING or self.cancel_at is Follows.CLAIMING:
            yield "target hears the claim", Target._target_hears_claim
        if self.cancel_at is Follows.TARGET:
            yield "target hears of the cancellation", Target._target_cancels
        if not self.inbound.is_over:
            yield "target's deadline passes", Target._target_expires
        if self.target_asked is not None:
            yield "target comes to a boundary", Target._target_boundary
            return
        if self.to_target:
            yield "target hears the source", Target._target_hears
        if self.inbound.is_over:
            if not self.is_broken:
                yield "target hangs up", Target._break
        elif self.is_broken:
            yield "target notices the loss", Target._target_loses

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


def _no_room() -> Failed:
    return Failed(DeclineReason.NO_ROOM, "the room is gone")
