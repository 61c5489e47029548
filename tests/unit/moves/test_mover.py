"""Moves between two replicas that count: bounds, orders, and what is left when they end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from protos.messages import SequenceId
from protos.moves import Committed, MoveOutcome
from replicas.shell.moves.limits import MoveLimits
from tests.unit.moves.pair import LIMITS, ends
from tests.unit.shell.counting import CARD, CONFIG, answer, request
from tests.unit.shell.desk import tokens_of, unread
from tests.unit.shell.eventually import eventually

LONG = 2000


async def test_a_sequence_moves_in_chunks_and_is_said_to_be_at_its_target() -> None:
    async with ends("a", "b") as [a, b]:
        asked = request("r", prompt_tokens=80, tokens_max=LONG)
        a.submit(asked)
        a.order("m", await a.sequence(), b.peer)
        [report] = await a.reports()
        assert report.outcome is MoveOutcome.MOVED, report
        assert (report.target, report.request_id, report.choice) == (b.peer.replica_id, "r", 0)
        assert report.blocks_sent >= 80 // CARD.block_size
        handoffs = [handoff for events in unread(a.link) for handoff in events.handoffs]
        assert [handoff.target for handoff in handoffs] == [b.peer.replica_id]
        assert a.blocks_used == 0
        assert b.blocks_used > 0


async def test_an_order_for_what_is_not_here_ends_as_unknown() -> None:
    async with ends("a", "b") as [a, b]:
        a.order("m", SequenceId("9:r/0"), b.peer)
        a.order("n", SequenceId("nonsense"), None)
        assert {report.outcome for report in await a.reports(2)} == {MoveOutcome.UNKNOWN}


async def test_orders_beyond_the_bound_are_busy_and_repeated_ones_are_obeyed_once() -> None:
    limits = replace(LIMITS, moves_out_max=1)
    async with ends("a", "b", limits=limits) as [a, b]:
        a.submit(request("r", tokens_max=LONG))
        sequence_id = await a.sequence()
        for move_id in ("m", "m", "n"):
            a.order(move_id, sequence_id, b.peer)
        reports = {report.move_id: report.outcome for report in await a.reports(2)}
        a.order("m", sequence_id, b.peer)
        assert reports == {"m": MoveOutcome.MOVED, "n": MoveOutcome.BUSY}
        assert a.mover.ended_count == 2


async def test_the_last_ends_are_kept_and_told_from_any_number_on() -> None:
    async with ends("a", limits=replace(LIMITS, reports_max=2)) as [a]:
        for move_id in "mno":
            a.order(move_id, SequenceId("nobody"), None)
            await a.reports()
        told = [[report.move_id for report in a.mover.reports(since)] for since in range(4)]
        assert told == [["n", "o"], ["n", "o"], ["o"], []]


async def test_a_target_that_takes_in_enough_moves_declines_another() -> None:
    async with ends("a", "b", limits=replace(LIMITS, moves_in_max=0)) as [a, b]:
        a.submit(request("r", tokens_max=LONG))
        a.order("m", await a.sequence(), b.peer)
        [report] = await a.reports()
        assert report.outcome is MoveOutcome.DECLINED
        assert report.detail.startswith("busy")
        assert b.blocks_used == 0


async def test_a_target_that_closes_its_door_ends_the_move_and_nothing_is_held() -> None:
    async with ends("a", "b") as [a, b]:
        asked = request("r", prompt_tokens=800, tokens_max=300)
        a.submit(asked)
        sequence_id = await a.sequence()
        a.order("m", sequence_id, b.peer)
        await eventually(lambda: b.blocks_used > 0, "there is room")
        b.engine.drain()
        [report] = await a.reports()
        assert report.outcome is MoveOutcome.DECLINED, report
        assert b.blocks_used == 0
        await eventually(lambda: a.engine.is_idle, "it has finished where it was")
        assert tokens_of(list(unread(a.link)), asked) == answer(asked)


async def test_a_copy_whose_source_never_heard_of_it_ends_when_the_source_goes_on() -> None:
    """Long before the grace of a parked sequence."""
    async with ends("a", "b", limits=replace(LIMITS, frozen_ms_max=500)) as [a, b]:
        a.town.loses = Committed
        b.executor.step_s = 0.01  # the copy has not finished when its source goes on
        a.submit(request("r", prompt_tokens=80, tokens_max=LONG))
        a.order("m", await a.sequence(), b.peer)
        [report] = await a.reports()
        assert report.outcome is MoveOutcome.LOST, report
        assert CONFIG.park_grace_ms >= 10_000
        async with asyncio.timeout(5):
            await eventually(lambda: b.blocks_used == 0, "the copy is gone")
        counters = b.links.news().snapshot.counters
        assert counters.sequences_imported == 1
        assert counters.decode_tokens < LONG // 2, "it has not just finished"


async def test_a_source_that_stops_has_its_sequence_back() -> None:
    limits = replace(LIMITS, bytes_per_s=1)  # so that the move takes for ever
    async with ends("a", "b", limits=limits) as [a, b]:
        a.submit(request("r", prompt_tokens=80, tokens_max=LONG))
        sequence_id = await a.sequence()
        a.order("m", sequence_id, b.peer)
        await eventually(lambda: b.blocks_used > 0, "there is room")
    [report] = a.links.sequences(1)
    assert report.is_movable
    await eventually(lambda: b.blocks_used == 0, "the room is given back")


async def test_hot_blocks_are_given_and_taken_once() -> None:
    async with ends("a", "b") as [a, b]:
        asked = request("r", prompt_tokens=40, tokens_max=1)
        for number in range(3):
            a.submit(replace(asked, request_id=type(asked.request_id)(f"r{number}")))
            await eventually(lambda: a.engine.is_idle, "it has finished")
        for _ in range(2):
            assert await b.spreading.pull(a.peer)
            assert len(b.engine.inventory()) == 39 // CARD.block_size
        b.submit(asked)
        await eventually(lambda: b.engine.is_idle, "it has finished")
        deltas = [delta for events in unread(b.link) for delta in events.deltas]
        assert deltas[0].hit_tokens == 36


async def test_salted_blocks_are_nobody_elses() -> None:
    async with ends("a", "b") as [a, b]:
        asked = replace(request("r", prompt_tokens=40, tokens_max=1), salt=b"mine")
        for number in range(3):
            a.submit(replace(asked, request_id=type(asked.request_id)(f"r{number}")))
            await eventually(lambda: a.engine.is_idle, "it has finished")
        assert a.engine.hot_blocks(9)
        assert await b.spreading.pull(a.peer)
        assert b.engine.inventory() == ()


def test_the_bounds_are_bounds() -> None:
    limits = MoveLimits()
    assert limits.tail_blocks <= limits.tail_blocks_max
    assert limits.frozen_ms_max < limits.silence_ms_max
