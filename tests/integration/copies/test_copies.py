"""Blocks that one process computed and another one copied say what computing them would have said.

Two real replicas of the tiny model, the source in a process of its own, over gRPC.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protos.messages import CopySource, Request, RequestId
from protos.moves import CopyOutcome
from tests.integration.moves.child import child
from tests.integration.moves.follower import Follower
from tests.integration.moves.members import Member, Ordered, member
from tests.integration.moves.test_moves import (
    BLOCK_SIZE,
    SAMPLINGS,
    ask,
    assert_empty,
    assert_same,
    unmoved,
)
from tests.unit.shell.eventually import eventually

PROMPT = 200
REUSABLE = 192  # tokens in whole blocks, the last one left out


def from_(source: Ordered, asked: Request, name: str) -> Request:
    """The same, whose blocks that replica is said to have."""
    copy_from = CopySource(source.peer.replica_id, source.peer.address, PROMPT // BLOCK_SIZE)
    return replace(asked, request_id=RequestId(name), copy_from=copy_from)


async def ready(at: Member) -> None:
    await eventually(lambda: at.replica.snapshot().copy_block_ns > 0, "it can copy")


@pytest.mark.parametrize("name", SAMPLINGS)
async def test_a_request_whose_prefix_was_copied_says_what_it_says_alone(name: str) -> None:
    async with child("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        await ready(b)
        asked = ask(name, SAMPLINGS[name], prompt_tokens=PROMPT)
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        there = await follower.finished(asked)
        copied = from_(a, asked, f"{name}-copied")
        await follower.submit(copied, b)
        here = await follower.finished(copied)
        assert_same(here, alone)
        assert_same(here, there)
        snapshot = b.replica.snapshot()
        assert snapshot.counters.copied_tokens == REUSABLE
        assert snapshot.counters.prefill_tokens == PROMPT + (PROMPT - REUSABLE)
        assert dict(snapshot.copies.ended) == {CopyOutcome.COPIED.value: 1}
        await assert_empty(b)


async def test_what_an_answer_added_is_copied_with_its_prompt() -> None:
    async with child("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        await ready(b)
        first = ask("turn", prompt_tokens=PROMPT)
        await follower.submit(first, a)
        [told] = await follower.finished(first)
        second = replace(first, prompt=(*first.prompt, *told.tokens, 65))
        alone = await unmoved(follower, second, b)
        turn = from_(a, second, "second")
        assert turn.copy_from is not None
        turn = replace(turn, copy_from=replace(turn.copy_from, blocks=99))
        await follower.submit(turn, b)
        assert_same(await follower.finished(turn), alone)
        assert b.replica.snapshot().counters.copied_tokens > REUSABLE


async def test_a_source_that_died_costs_a_recompute_and_no_token() -> None:
    async with child("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        follower.mortal = a.peer.replica_id
        await ready(b)
        asked = ask("any", prompt_tokens=PROMPT)
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.finished(asked)
        a.kill()
        copied = from_(a, asked, "copied")
        await follower.submit(copied, b)
        assert_same(await follower.finished(copied), alone)
        assert dict(b.replica.snapshot().copies.ended) == {CopyOutcome.LOST.value: 1}


@pytest.mark.parametrize(("holds", "asks"), [(b"one", b"one"), (b"one", b"two"), (b"one", b"")])
async def test_a_salt_finds_its_own_blocks_and_nobody_elses(holds: bytes, asks: bytes) -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        await ready(b)
        asked = replace(ask("any", prompt_tokens=PROMPT), salt=holds)
        await follower.submit(asked, a)
        alone = await follower.finished(asked)
        copied = replace(from_(a, asked, "copied"), salt=asks)
        await follower.submit(copied, b)
        assert_same(await follower.finished(copied), alone)
        expected = REUSABLE if asks == holds else 0
        assert b.replica.snapshot().counters.copied_tokens == expected
