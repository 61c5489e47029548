"""A move whose source or target is killed, at every stage: the stream is whole, token for token."""

from __future__ import annotations

from functools import partial

import pytest

from protos.moves import MoveId, MoveOutcome
from tests.integration.moves.child import child
from tests.integration.moves.follower import Follower
from tests.integration.moves.members import PARK_BRIEFLY_MS, Ordered, member
from tests.integration.moves.relay import Relay, relay
from tests.integration.moves.test_moves import ask, assert_empty, assert_same, unmoved

# The message that has just passed, and how the move may end then at a source that lives on.
OUTCOMES = {
    "reserve": {MoveOutcome.LOST},
    "blocks": {MoveOutcome.LOST},
    "commit": {MoveOutcome.LOST, MoveOutcome.MOVED},  # it may have confirmed as it died
    "committed": {MoveOutcome.MOVED},
}


def has_struck_or_ended(way: Relay, source: Ordered, move_id: MoveId) -> bool:
    return way.has_struck or move_id in source.plane.moves


@pytest.mark.parametrize("stage", OUTCOMES)
async def test_no_token_is_lost_when_the_target_is_killed(stage: str) -> None:
    async with member("a") as a, child("b") as b, Follower().attached(a, b) as follower:
        follower.mortal = b.peer.replica_id
        asked = ask(stage, prompt_tokens=400)
        alone = await unmoved(follower, asked, a)
        async with relay(b.peer, at=stage, strike=b.kill) as way:
            await follower.submit(asked, a)
            await follower.has_said(asked, 5)
            report = await a.move(stage, way.peer)
            while not way.has_struck:  # a slow machine may hold a move up for too long
                report = await a.move(stage, way.peer)
        assert report.outcome in OUTCOMES[stage], report
        told = follower.told(asked)
        if report.outcome is MoveOutcome.MOVED:
            await follower.until(lambda: told.follows is None, "its gateway misses the target")
            await follower.resume(told, a)
        assert_same(await follower.finished(asked), alone)
        await assert_empty(a)


@pytest.mark.parametrize("stage", OUTCOMES)
async def test_no_token_is_lost_when_the_source_is_killed(stage: str) -> None:
    async with (
        child("a") as a,
        member("b", park_grace_ms=PARK_BRIEFLY_MS) as b,
        Follower().attached(a, b) as follower,
    ):
        follower.mortal = a.peer.replica_id
        asked = ask(stage, prompt_tokens=400)
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.has_said(asked, 5)
        told = follower.told(asked)
        async with relay(b.peer, at=stage, strike=a.kill) as way:
            while not way.has_struck:  # a slow machine may hold a move up for too long
                move_id = a.order((await a.sequence(stage)).sequence_id, way.peer)
                await follower.until(
                    partial(has_struck_or_ended, way, a, move_id),
                    f"{stage} has passed",
                )
            await follower.until(
                lambda: told.follows != a.peer.replica_id, "its gateway misses the source"
            )
        if told.follows is None:
            await follower.resume(told, b)
        assert_same(await follower.finished(asked), alone)
        await assert_empty(b)
