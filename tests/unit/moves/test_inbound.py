"""The target's machine, message by message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protos.messages import SampledToken
from protos.moves import (
    Abort,
    Blocks,
    Commit,
    Committed,
    Declined,
    DeclineReason,
    Reserve,
    Reserved,
    Written,
)
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
from replicas.shell.moves.inbound import Host, Inbound, InboundState
from tests.unit.moves.words import BLOCK, CARD, HOST, MOVE, blocks, commit, reserve


def filling(*, held: int = 2) -> Inbound:
    """A move that has its room."""
    machine = Inbound(HOST)
    assert machine.handle(reserve()) == (MakeRoom(reserve().request),)
    assert machine.handle(Room(held)) == (Answer(Reserved(MOVE, held)),)
    return machine


def complete() -> Inbound:
    """A move that has all blocks of 40 computed tokens."""
    machine = filling()
    machine.handle(blocks(2, 8))
    assert machine.handle(Wrote()) == (Answer(Written(MOVE, 10)),)
    return machine


def reason(effects: tuple[InboundEffect, ...]) -> DeclineReason:
    match effects[-1]:
        case Answer(Declined(_, why, _)):
            return why
    raise AssertionError(effects)


def test_what_arrives_is_written_and_then_admitted_once() -> None:
    machine = complete()
    said = (SampledToken(7), SampledToken(8))
    assert machine.handle(commit(7, 8, computed=40)) == (Admit(said, 40),)
    assert machine.handle(Admitted()) == (Answer(Committed(MOVE)),)
    assert not machine.is_arriving
    assert machine.handle(commit(7, 8, computed=40)) == (Answer(Committed(MOVE)),)


def admitted() -> Inbound:
    """A move whose sequence runs here, and whose source may not know."""
    machine = complete()
    machine.handle(commit(7, 8, computed=40))
    machine.handle(Admitted())
    return machine


def test_a_copy_whose_source_goes_on_itself_is_recalled_once() -> None:
    machine = admitted()
    assert machine.handle(Abort(MOVE)) == (Recall(),)
    assert machine.handle(Abort(MOVE)) == ()
    assert machine.is_over
    assert reason(machine.handle(commit(7, 8, computed=40))) is DeclineReason.UNKNOWN


@pytest.mark.parametrize("end", [Expired(), Lost("the source has ended the move")])
def test_a_copy_whose_source_takes_nothing_back_is_here_for_good(end: InboundEvent) -> None:
    machine = admitted()
    assert machine.handle(end) == ()
    assert machine.state is InboundState.DONE
    assert machine.handle(Abort(MOVE)) == ()


@pytest.mark.parametrize(
    ("host", "asked", "why"),
    [
        (replace(HOST, epoch=4), reserve(), DeclineReason.EPOCH),
        (replace(HOST, card=replace(CARD, revision="2")), reserve(), DeclineReason.CARD),
        (replace(HOST, is_open=False), reserve(), DeclineReason.NOT_OPEN),
        (replace(HOST, is_busy=True), reserve(), DeclineReason.BUSY),
        (
            HOST,
            replace(reserve(), request=replace(reserve().request, choices=2)),
            DeclineReason.REFUSED,
        ),
    ],
)
def test_a_move_is_declined_before_anything_is_reserved(
    host: Host, asked: Reserve, why: DeclineReason
) -> None:
    machine = Inbound(host)
    effects = machine.handle(asked)
    assert reason(effects) is why
    assert len(effects) == 1


def test_without_room_nothing_is_kept_and_the_source_is_told() -> None:
    machine = Inbound(HOST)
    machine.handle(reserve())
    full = Failed(DeclineReason.NO_ROOM, "full")
    assert machine.handle(full) == (Drop(), Answer(Declined(MOVE, DeclineReason.NO_ROOM, "full")))


def test_messages_that_come_again_are_answered_again() -> None:
    machine = complete()
    assert machine.handle(reserve()) == (Answer(Reserved(MOVE, 10)),)
    assert machine.handle(blocks(4, 3)) == (Answer(Written(MOVE, 10)),)
    assert machine.state is InboundState.FILLING


@pytest.mark.parametrize(
    "message",
    [
        blocks(3, 1),  # a gap before it
        blocks(1, 3),  # known in part
        Blocks(MOVE, 2, (BLOCK,), crc32=1),
        commit(7, computed=9),  # of which the third block is missing
        commit(6, computed=8),  # another first token than was announced
        commit(7, computed=41),  # more KV than tokens to feed
    ],
)
def test_what_does_not_fit_what_came_before_ends_the_move(message: Blocks | Commit) -> None:
    effects = filling().handle(message)
    assert effects[0] == Drop()
    assert reason(effects) is DeclineReason.BROKEN


def test_a_target_that_held_more_than_the_source_had_computed_begins_with_what_it_holds() -> None:
    machine = filling(held=9)
    assert machine.handle(commit(7, computed=20)) == (Admit((SampledToken(7),), 36),)


@pytest.mark.parametrize("end", [Abort(MOVE), Expired(), Lost("reset")])
def test_room_is_given_back_when_the_source_is_not_heard_any_more(end: InboundEvent) -> None:
    machine = filling()
    assert machine.handle(end) == (Drop(),)
    assert machine.is_over
    assert machine.handle(end) == ()


def test_after_its_end_a_move_is_unknown() -> None:
    machine = filling()
    machine.handle(Abort(MOVE))
    for message in (reserve(), blocks(2, 1), commit(7, computed=8)):
        assert reason(machine.handle(message)) is DeclineReason.UNKNOWN


def test_blocks_of_an_unknown_move_are_declined() -> None:
    machine = Inbound(HOST)
    assert reason(machine.handle(blocks(0, 1))) is DeclineReason.UNKNOWN
    assert machine.is_over


def test_writing_that_fails_gives_everything_back() -> None:
    machine = filling()
    assert machine.handle(blocks(2, 1)) == (Write(2, (BLOCK,)),)
    effects = machine.handle(Failed(DeclineReason.NO_ROOM, "needed here"))
    assert effects[0] == Drop()
    assert reason(effects) is DeclineReason.NO_ROOM
