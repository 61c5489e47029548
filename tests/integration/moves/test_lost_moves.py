"""A move that breaks leaves the sequence where it was, whole, and nothing where it was not."""

from __future__ import annotations

import pytest

from protos.moves import MoveOutcome, Peer
from replicas.shell.moves.limits import MoveLimits
from tests.integration.moves.follower import Follower
from tests.integration.moves.members import EPOCH, PARK_BRIEFLY_MS, member
from tests.integration.moves.test_moves import LONG, ask, assert_empty, assert_same, unmoved
from tests.integration.moves.way import way
from tests.ports import free_ports


@pytest.mark.parametrize("cut_at", ["reserve", "blocks", "commit"])
async def test_the_source_goes_on_when_the_way_to_the_target_is_cut(cut_at: str) -> None:
    """After the commit the target has the sequence, too: nobody claims it, and its grace ends."""
    async with (
        member("a") as a,
        member("b", park_grace_ms=PARK_BRIEFLY_MS) as b,
        Follower().attached(a, b) as follower,
    ):
        asked = ask(cut_at, prompt_tokens=400)
        alone = await unmoved(follower, asked, b)
        async with way(b.peer, cut_at=cut_at) as broken:
            await follower.submit(asked, a)
            await follower.has_said(asked, 5)
            report = await a.move(cut_at, broken.peer)
        assert broken.is_cut
        assert report.outcome is MoveOutcome.LOST, report
        went_on = await follower.finished(asked)
        assert_same(went_on, alone)
        assert went_on[0].adoptions == 0
        assert b.replica.snapshot().counters.sequences_imported == (cut_at == "commit")
        await assert_empty(a, b)


async def test_a_target_that_never_confirms_holds_the_sequence_up_for_a_moment_only() -> None:
    """Its copy ends as the source goes on, not when its grace would."""
    async with (
        member("a") as a,
        member("b", park_grace_ms=600_000) as b,
        Follower().attached(a, b) as follower,
    ):
        asked = ask("silent")
        async with way(b.peer, cut_at="commit", hangs=True) as silent:
            await follower.submit(asked, a)
            await follower.has_said(asked, 5)
            report = await a.move("silent", silent.peer)
        assert report.outcome is MoveOutcome.LOST, report
        assert report.frozen_ns >= MoveLimits().frozen_ms_max * 1_000_000
        assert b.replica.snapshot().counters.sequences_imported == 1
        [told] = await follower.finished(asked)
        assert len(told.said) == asked.sampling.tokens_max
        await assert_empty(a, b)


async def test_a_target_that_is_not_there_changes_nothing() -> None:
    async with member("a") as a, Follower().attached(a) as follower:
        asked = ask("nobody")
        [port] = free_ports(1)
        await follower.submit(asked, a)
        await follower.has_said(asked, 5)
        report = await a.move("nobody", Peer(a.peer.replica_id, f"127.0.0.1:{port}", EPOCH))
        assert report.outcome is MoveOutcome.LOST, report
        [told] = await follower.finished(asked)
        assert len(told.said) == asked.sampling.tokens_max
        await assert_empty(a)


async def test_a_target_without_room_declines() -> None:
    async with (
        member("a") as a,
        member("b", blocks_total=130) as b,
        Follower().attached(a, b) as follower,
    ):
        # So long that it runs still when the other one is to come, on any machine.
        here, there = (ask(name, LONG, prompt_tokens=1200) for name in ("here", "there"))
        for asked, at in ((here, a), (there, b)):
            await follower.submit(asked, at)
            await follower.has_said(asked, 1)
        report = await a.move("here", b.peer)
        assert report.outcome is MoveOutcome.DECLINED, report
        for asked in (here, there):
            [told] = await follower.finished(asked)
            assert len(told.said) == asked.sampling.tokens_max
        await assert_empty(a, b)
