"""Sequences that move between real replicas say, token for token, what they would have said."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from protos.messages import Request, RequestId, SamplingParams
from protos.moves import MoveOutcome
from tests.integration.moves.follower import Follower, Told
from tests.integration.moves.members import Member, member
from tests.unit.shell.eventually import eventually

BLOCK_SIZE = 16
TOKENS_MAX = 240
GREEDY = SamplingParams(TOKENS_MAX, temperature=0.0)
LONG = SamplingParams(2 * TOKENS_MAX, temperature=0.0)  # for a move that begins late
SAMPLINGS = {
    "greedy": GREEDY,
    "seeded": SamplingParams(TOKENS_MAX, temperature=0.9, top_p=0.95, top_k=40, seed=11),
    "logprobs": SamplingParams(TOKENS_MAX, temperature=0.7, seed=5, logprobs=3),
    "penalties": SamplingParams(
        TOKENS_MAX,
        temperature=0.0,
        repetition_penalty=1.2,
        presence_penalty=0.4,
        frequency_penalty=0.3,
    ),
}


def ask(
    name: str, sampling: SamplingParams = GREEDY, *, prompt_tokens: int = 200, choices: int = 1
) -> Request:
    rng = random.Random(name)
    prompt = tuple(rng.randrange(32, 127) for _ in range(prompt_tokens))
    return Request(RequestId(name), prompt, sampling, choices)


async def unmoved(follower: Follower, asked: Request, at: Member) -> list[Told]:
    """What it says alone. Under a salt of its own it leaves no block that the other may find."""
    alone = replace(asked, request_id=RequestId(f"{asked.request_id}-alone"), salt=b"alone")
    await follower.submit(alone, at)
    return await follower.finished(alone)


def assert_same(moved: list[Told], alone: list[Told]) -> None:
    for one, other in zip(moved, alone, strict=True):
        assert (one.tokens, one.finish) == (other.tokens, other.finish)
        for ours, theirs in zip(one.said, other.said, strict=True):
            assert [token for token, _ in ours.top] == [token for token, _ in theirs.top]
            if ours.logprob is None or theirs.logprob is None:
                assert ours.logprob is theirs.logprob
            else:
                assert math.isclose(ours.logprob, theirs.logprob, abs_tol=1e-3)


async def assert_empty(*members: Member) -> None:
    await eventually(lambda: not any(each.blocks_used for each in members), "no block is held")


@pytest.mark.parametrize("name", SAMPLINGS)
async def test_a_moved_sequence_says_what_it_would_have_said(name: str) -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask(name, SAMPLINGS[name])
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.has_said(asked, 5)
        report = await a.move(name, b.peer)
        assert report.outcome is MoveOutcome.MOVED, report
        moved = await follower.finished(asked)
        assert_same(moved, alone)
        assert moved[0].adoptions == 1
        assert report.blocks_sent >= 200 // BLOCK_SIZE
        assert b.replica.snapshot().counters.sequences_imported == 1
        await assert_empty(a, b)


@pytest.mark.parametrize(("prompt_tokens", "tokens"), [(2000, 0), (200, 1), (200, 120)])
async def test_it_can_move_while_it_prefills_early_and_late(
    prompt_tokens: int, tokens: int
) -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("any", LONG, prompt_tokens=prompt_tokens)
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.has_said(asked, tokens)
        report = await a.move("any", b.peer)
        assert report.outcome is MoveOutcome.MOVED, report
        assert_same(await follower.finished(asked), alone)
        await assert_empty(a, b)


async def test_it_can_move_away_and_back_and_what_was_left_behind_is_not_sent_again() -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("back", LONG)
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.has_said(asked, 20)
        away = await a.move("back", b.peer)
        told = follower.told(asked)
        await follower.has_said(asked, len(told.said) + 20)
        back = await b.move("back", a.peer)
        assert (away.outcome, back.outcome) == (MoveOutcome.MOVED, MoveOutcome.MOVED)
        assert back.blocks_shared >= away.blocks_sent - 1
        assert_same(await follower.finished(asked), alone)
        assert told.adoptions == 2
        await assert_empty(a, b)


async def test_a_prefix_that_the_target_has_is_not_sent() -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("shared", prompt_tokens=800)
        alike = replace(
            asked, request_id=RequestId("alike"), sampling=replace(GREEDY, tokens_max=1)
        )
        await follower.submit(alike, b)
        await follower.finished(alike)
        await follower.submit(asked, a)
        await follower.has_said(asked, 3)
        report = await a.move("shared", b.peer)
        assert report.outcome is MoveOutcome.MOVED, report
        assert report.blocks_shared == 800 // BLOCK_SIZE
        assert report.blocks_sent < 20
        [told] = await follower.finished(asked)
        assert len(told.said) == TOKENS_MAX


async def test_each_choice_of_a_request_moves_by_itself() -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("three", SAMPLINGS["seeded"], choices=3)
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.has_said(asked, 5, choice=2)
        for choice in (0, 2):
            report = await a.move("three", b.peer, choice)
            assert report.outcome is MoveOutcome.MOVED, report
        moved = await follower.finished(asked)
        assert [told.adoptions for told in moved] == [1, 0, 1]
        assert_same(moved, alone)
        await assert_empty(a, b)


async def test_a_client_that_leaves_while_its_sequence_moves_leaves_nothing_behind() -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("left", prompt_tokens=3000)
        await follower.submit(asked, a)
        await follower.has_said(asked, 1)
        sequence = await a.sequence("left")
        move_id = a.order(sequence.sequence_id, b.peer)
        await eventually(lambda: b.blocks_used > 0, "the target has made room")
        await follower.cancel(asked)
        report = await a.ended(move_id)
        assert report.outcome in (MoveOutcome.ENDED, MoveOutcome.MOVED)
        await assert_empty(a, b)


async def test_a_sequence_that_is_handed_back_goes_on_from_what_was_delivered() -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("given")
        alone = await unmoved(follower, asked, b)
        await follower.submit(asked, a)
        await follower.has_said(asked, 10)
        report = await a.move("given", None)
        assert report.outcome is MoveOutcome.HANDED_BACK
        told = follower.told(asked)
        await follower.until(lambda: told.follows is None, "its gateway is told")
        await follower.resume(told, b)
        assert_same(await follower.finished(asked), alone)
        await assert_empty(a, b)


async def test_a_target_of_another_epoch_declines_and_nothing_is_noticed() -> None:
    async with member("a") as a, member("b") as b, Follower().attached(a, b) as follower:
        asked = ask("epoch")
        await follower.submit(asked, a)
        await follower.has_said(asked, 3)
        report = await a.move("epoch", replace(b.peer, epoch=9))
        assert (report.outcome, report.detail) == (
            MoveOutcome.DECLINED,
            "epoch: this is epoch 0",
        )
        [told] = await follower.finished(asked)
        assert (len(told.said), told.adoptions) == (TOKENS_MAX, 0)


def price_of_copies(member: Member) -> tuple[int, int]:
    """As routing is told it: before the first block, and for each."""
    snapshot = member.replica.snapshot()
    return snapshot.copy_start_ns, snapshot.copy_block_ns


async def test_a_new_replica_begins_with_what_is_hot_elsewhere() -> None:
    async with (
        member("a") as a,
        member("b", warm_ms=20_000) as b,
        Follower().attached(a, b) as follower,
    ):
        asked = ask("hot", replace(GREEDY, tokens_max=2), prompt_tokens=800)
        for number in range(3):
            again = replace(asked, request_id=RequestId(f"hot-{number}"))
            await follower.submit(again, a)
            await follower.finished(again)
        assert b.replica.snapshot().draining
        assumed = price_of_copies(b)
        b.warm_from(a.peer)
        await eventually(lambda: not b.replica.snapshot().draining, "it is warm")
        assert price_of_copies(b) != assumed, "what came has told what the link is like"
        await follower.submit(asked, b)
        [told] = await follower.finished(asked)
        assert told.tokens == follower.told(again).tokens
        assert b.replica.snapshot().counters.hit_tokens == (800 - 1) // BLOCK_SIZE * BLOCK_SIZE
