"""The power of the exploration: machines that break a promise are found, each by its own."""

from __future__ import annotations

import pytest

from protos.moves import Blocks, Commit, MoveOutcome
from replicas.shell.moves.effects import (
    Admit,
    Frozen,
    GiveAway,
    InboundEvent,
    Keep,
    OutboundEvent,
    Recall,
    Write,
)
from replicas.shell.moves.inbound import Effects as InboundEffects
from replicas.shell.moves.inbound import Inbound, InboundState
from replicas.shell.moves.outbound import Effects as OutboundEffects
from replicas.shell.moves.outbound import Outbound, OutboundState
from tests.property.moves.explore import Violation, explore
from tests.property.moves.world import World, world


class GivesAwayWithItsCommit(Outbound):
    """Does not wait for Committed."""

    def handle(self, event: OutboundEvent) -> OutboundEffects:
        effects = super().handle(event)
        if isinstance(event, Frozen) and self.state is OutboundState.COMMITTING:
            self.state, self.outcome = OutboundState.DONE, MoveOutcome.MOVED
            return (*effects, GiveAway())
        return effects


class ThawsAfterTheEnd(Outbound):
    """Keeps the sequence that it has given away."""

    def handle(self, event: OutboundEvent) -> OutboundEffects:
        effects = super().handle(event)
        return (*effects, Keep()) if GiveAway() in effects else effects


class ForgetsToThaw(Outbound):
    """Ends a move whose deadline passes without letting the sequence go on."""

    def handle(self, event: OutboundEvent) -> OutboundEffects:
        was_frozen = self.is_frozen
        effects = super().handle(event)
        return tuple(e for e in effects if not (was_frozen and e == Keep()))


class ForgetsItsTail(Outbound):
    """Counts what was computed since the last stage as copied, too."""

    def handle(self, event: OutboundEvent) -> OutboundEffects:
        if isinstance(event, Frozen):
            event = Frozen(event.payloads[:-1], event.computed, event.said)
        return super().handle(event)


class BelievesAnyCommit(Inbound):
    """Does not count what has arrived."""

    def _fault(self, message: Commit) -> str | None:
        return None


class WritesWhatComes(Inbound):
    """Does not care where blocks begin."""

    def _blocks(self, message: Blocks) -> InboundEffects:
        if self.state is not InboundState.FILLING:
            return super()._blocks(message)
        self._move_to(InboundState.WRITING)
        self._writing_end = message.first + len(message.payloads)
        return (Write(message.first, message.payloads),)


class KeepsItsRoom(Inbound):
    """Forgets the reservation when the source aborts."""

    def _give_up(self) -> InboundEffects:
        super()._give_up()
        return ()


class AdmitsAgain(Inbound):
    """Does with a repeated commit what it did with the first."""

    def handle(self, event: InboundEvent) -> InboundEffects:
        if isinstance(event, Commit) and self.state is InboundState.ADMITTED:
            self.state = InboundState.ADMITTING
            return (Admit(event.said, event.computed),)
        return super().handle(event)


class IgnoresARecall(Inbound):
    """Lets a copy run on that its source has taken back."""

    def handle(self, event: InboundEvent) -> InboundEffects:
        return tuple(e for e in super().handle(event) if e != Recall())


class WithoutParking(World):
    """A target at which what arrives is nobody's guest."""

    def _admit(self, asked: Admit) -> InboundEvent:
        answer = super()._admit(asked)
        self.is_target_parked = False
        return answer


@pytest.mark.parametrize(
    ("bug", "promise"),
    [
        (GivesAwayWithItsCommit, "nobody has it"),
        (ThawsAfterTheEnd, "kept after its end"),
        (ForgetsToThaw, "an export left open"),
    ],
)
def test_a_bug_of_the_source_is_found(bug: type[Outbound], promise: str) -> None:
    with pytest.raises(Violation, match=promise):
        explore(lambda: world(faults=1, outbound=bug))


@pytest.mark.parametrize(
    ("bug", "promise"),
    [
        (KeepsItsRoom, "room is held for a move that is over"),
        (AdmitsAgain, "admitted twice"),
        (WritesWhatComes, "written where nothing may be written"),
        (BelievesAnyCommit, "lacks KV"),
        (IgnoresARecall, "its source has recalled"),
    ],
)
def test_a_bug_of_the_target_is_found(bug: type[Inbound], promise: str) -> None:
    with pytest.raises(Violation, match=promise):
        explore(lambda: world(faults=1, inbound=bug))


def test_a_tail_that_is_left_out_is_declined_by_a_target_that_counts() -> None:
    explore(lambda: world(faults=0, outbound=ForgetsItsTail))
    with pytest.raises(Violation, match="lacks KV"):
        explore(lambda: world(faults=0, outbound=ForgetsItsTail, inbound=BelievesAnyCommit))


def test_two_copies_that_run_at_once_are_found() -> None:
    with pytest.raises(Violation, match="two copies run"):
        explore(lambda: world(faults=0, kind=WithoutParking))
