"""The source's machine, message by message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protos.messages import SampledToken
from protos.moves import (
    Abort,
    Commit,
    Committed,
    Declined,
    DeclineReason,
    MoveOutcome,
    Reserved,
    Written,
)
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
    OutboundEvent,
    Tell,
)
from replicas.shell.moves.limits import MoveLimits
from replicas.shell.moves.outbound import Outbound, OutboundState
from tests.unit.moves.words import BLOCK, MOVE, blocks, reserve

# Two blocks make a chunk, two chunks a window.
LIMITS = MoveLimits(
    chunk_bytes_max=2 * len(BLOCK), chunks_unacknowledged_max=2, tail_blocks_max=4, stages_max=3
)
SAID = (SampledToken(7), SampledToken(8))


def outbound(*, computed: int = 40, limits: MoveLimits = LIMITS) -> Outbound:
    machine = Outbound(reserve(), computed=computed, limits=limits)
    assert machine.open() == (Tell(reserve()),)
    return machine


def frozen(*, held: int = 9) -> Outbound:
    """A move that has told its commit."""
    machine = outbound()
    machine.handle(Reserved(MOVE, held))
    machine.handle(Frozen((BLOCK,), 40, SAID))
    return machine


def test_a_long_sequence_is_copied_in_chunks_no_more_of_them_on_the_way_than_allowed() -> None:
    machine = outbound()
    assert machine.handle(Reserved(MOVE, 0)) == (Copy(0, 1),)
    assert machine.handle(Copied((BLOCK,), 40)) == (Tell(blocks(0, 1)), Copy(1, 3))
    assert machine.handle(Copied((BLOCK,) * 2, 40)) == (Tell(blocks(1, 2)),)
    assert machine.handle(Written(MOVE, 1)) == (Copy(3, 5),)
    assert machine.handle(Copied((BLOCK,) * 2, 40)) == (Tell(blocks(3, 2)),)
    assert machine.stages == 1


def test_a_stage_ends_when_all_of_it_is_written_and_the_next_copies_what_was_made() -> None:
    machine = outbound(computed=12)
    machine.handle(Reserved(MOVE, 0))
    machine.handle(Copied((BLOCK,), 20))
    machine.handle(Copied((BLOCK,) * 2, 26))
    assert machine.handle(Written(MOVE, 1)) == ()
    assert machine.handle(Written(MOVE, 3)) == (Copy(3, 5),)
    assert machine.stages == 2


def test_what_the_target_holds_is_not_sent_and_a_short_rest_freezes_at_once() -> None:
    machine = outbound()
    assert machine.handle(Reserved(MOVE, 8)) == (Freeze(8, 4),)
    assert (machine.blocks_shared, machine.stages) == (8, 0)


def test_a_target_that_holds_more_than_was_computed_is_sent_nothing() -> None:
    machine = outbound(computed=20)
    assert machine.handle(Reserved(MOVE, 9)) == (Freeze(9, 4),)
    assert machine.handle(Frozen((), 20, SAID)) == (Tell(Commit(MOVE, SAID, 20)),)


def test_the_tail_and_the_commit_go_out_together_and_only_committed_gives_the_sequence_away() -> (
    None
):
    machine = outbound()
    machine.handle(Reserved(MOVE, 8))
    told = machine.handle(Frozen((BLOCK,) * 3, 42, SAID))
    assert told == (Tell(blocks(8, 2)), Tell(blocks(10, 1)), Tell(Commit(MOVE, SAID, 42)))
    assert machine.is_frozen
    assert machine.handle(Written(MOVE, 11)) == ()
    assert machine.handle(Committed(MOVE)) == (GiveAway(),)
    assert (machine.outcome, machine.blocks_sent) == (MoveOutcome.MOVED, 3)
    assert machine.bytes_sent == 3 * len(BLOCK)


def test_a_sequence_that_ran_ahead_of_its_freezing_is_copied_further() -> None:
    machine = outbound()
    machine.handle(Reserved(MOVE, 8))
    assert machine.handle(Copied((), 80)) == (Copy(8, 9),)
    assert machine.state is OutboundState.COPYING


def test_a_sequence_that_grows_as_fast_as_it_is_copied_ends_its_move_as_late() -> None:
    machine = outbound(computed=12, limits=replace(LIMITS, stages_max=1))
    machine.handle(Reserved(MOVE, 0))
    machine.handle(Copied((BLOCK,), 40))
    machine.handle(Copied((BLOCK,) * 2, 80))
    assert machine.handle(Written(MOVE, 3)) == (Keep(), Tell(Abort(MOVE)))
    assert machine.outcome is MoveOutcome.LATE
    assert machine.detail == "after 1 stages 17 blocks were left"


def test_enough_stages_freeze_a_longer_tail() -> None:
    machine = outbound(limits=MoveLimits(stages_max=0, tail_blocks_max=4))
    assert machine.handle(Reserved(MOVE, 6)) == (Freeze(6, 4),)


@pytest.mark.parametrize(
    ("event", "outcome", "says_so"),
    [
        (Declined(MOVE, DeclineReason.NO_ROOM, "full"), MoveOutcome.DECLINED, False),
        (Lost("reset"), MoveOutcome.LOST, False),
        (Expired(), MoveOutcome.LOST, True),
    ],
)
def test_a_frozen_sequence_is_kept_when_no_word_of_its_arrival_comes(
    event: OutboundEvent, outcome: MoveOutcome, says_so: bool
) -> None:
    machine = frozen()
    assert machine.handle(event) == (Keep(), *((Tell(Abort(MOVE)),) if says_so else ()))
    assert machine.outcome is outcome
    assert machine.handle(Committed(MOVE)) == ()


def test_a_deadline_before_the_freezing_is_late() -> None:
    machine = outbound()
    assert machine.handle(Expired()) == (Keep(), Tell(Abort(MOVE)))
    assert machine.outcome is MoveOutcome.LATE


def test_a_sequence_that_is_gone_has_nothing_to_keep() -> None:
    machine = frozen()
    assert machine.handle(Gone()) == (Tell(Abort(MOVE)),)
    assert machine.outcome is MoveOutcome.ENDED


def test_messages_out_of_their_place_change_nothing() -> None:
    machine = outbound()
    assert machine.handle(Committed(MOVE)) == ()
    machine.handle(Reserved(MOVE, 8))
    assert machine.handle(Reserved(MOVE, 2)) == ()
    assert machine.handle(Written(MOVE, 99)) == ()
    assert machine.blocks_shared == 8
    assert machine.state is OutboundState.FREEZING
