"""The source of a move: a sequence and its export in an engine, around the real machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy

from protos.messages import SampledToken
from replicas.shell.moves.effects import (
    Copied,
    Copy,
    Expired,
    Freeze,
    Frozen,
    GiveAway,
    Gone,
    Keep,
    Lost,
    OutboundEffect,
    OutboundEvent,
    Tell,
)
from tests.property.moves.state import (
    ALIVE,
    BLOCK_SIZE,
    PROMPT,
    Follows,
    Life,
    State,
)


class Source(State):
    """Contracts of replicas.engine.export; one thing after the other, as `Departure` does it."""

    def begin(self) -> None:
        """The source has its order."""
        self._source_does(self.outbound.open())

    @property
    def computed(self) -> int:
        """Decodes feed all tokens but the last one."""
        return len(PROMPT) + self.said - 1

    def _source_events(self) -> Iterator[tuple[str, Callable[[Source], None]]]:
        if self.source_life is Life.RUNNING:
            yield "source steps", Source._source_steps
        if self.source_life is Life.PREEMPTED:
            yield "source admits it again", Source._source_admits_again
        if self.is_source_parked and self.source_life in ALIVE:
            yield "source ends its grace", Source._source_cancels
        if self.cancel_at is Follows.SOURCE:
            yield "source hears of the cancellation", Source._source_cancels
        if self.outbound.outcome is None:
            yield "source's deadline passes", Source._source_expires
            if self.source_asked is not None:
                yield "source comes to a boundary", Source._source_boundary
                return
            if self.to_source:
                yield "source hears the target", Source._source_hears
            if self.is_broken:
                yield "source notices the loss", Source._source_loses
        elif not self.is_broken:
            yield "source hangs up", Source._break

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
