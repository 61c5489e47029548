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

from collections.abc import Callable, Iterator

from protos.moves import MoveOutcome
from replicas.shell.moves.inbound import Inbound, InboundState
from replicas.shell.moves.outbound import Outbound
from tests.property.moves.faults import Faults
from tests.property.moves.gateway import Gateway
from tests.property.moves.state import (
    ALIVE,
    HOST,
    LIMITS,
    PROMPT,
    RESERVE,
    Follows,
    Life,
    Place,
)


class World(Faults, Gateway):
    """What can happen next, and what must hold."""

    def events(self) -> Iterator[tuple[str, Callable[[World], None]]]:
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
    made = kind(source, inbound(HOST), tokens_max=tokens_max, faults=faults)
    made.begin()
    return made
