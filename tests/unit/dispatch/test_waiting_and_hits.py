"""What only dispatch can count: what the registry said and was not so, and what helps nobody."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import Answer, ScriptedReplica, request, tidy, tokens


@pytest.mark.parametrize(("hit_tokens", "false"), [(48, 0), (16, 2), (0, 3)])
def test_a_block_that_the_registry_named_and_the_replica_lacks_is_a_false_hit(
    hit_tokens: int, false: int
) -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", Answer(hit_tokens=hit_tokens))) as made:
            await made.hold("a", request().prompt)  # four blocks; the last token's is no use
            await tokens(made, request())
            assert made.dispatch.totals.registry_hit_blocks == 3
            assert made.dispatch.totals.registry_false_hit_blocks == false

    run(scenario())


def test_a_prefix_that_nobody_named_is_no_false_hit() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a", Answer(hit_tokens=48))) as made:
            await tokens(made, request())
            totals = made.dispatch.totals
            assert (totals.registry_hit_blocks, totals.registry_false_hit_blocks) == (0, 0)

    run(scenario())


@pytest.mark.parametrize(("hit_tokens", "false"), [(48, 0), (16, 2), (0, 3)])
def test_a_block_that_was_to_come_and_did_not_is_no_false_hit_of_the_registry(
    hit_tokens: int, false: int
) -> None:
    """The second request of a prompt is placed while the first one runs."""

    async def scenario() -> None:
        answers = (Answer(first_after_s=0.5), Answer(hit_tokens=hit_tokens))
        async with tidy(ScriptedReplica("a", *answers)) as made:
            first = asyncio.create_task(tokens(made, request("first", token_first=0)))
            await asyncio.sleep(0.1)
            await tokens(made, request("second", token_first=0))
            await first
            totals = made.dispatch.totals
            assert (totals.intended_hit_blocks, totals.intended_false_hit_blocks) == (3, false)
            assert (totals.registry_hit_blocks, totals.registry_false_hit_blocks) == (0, 0)

    run(scenario())


def test_of_a_hit_that_is_half_registered_the_rest_fails_first() -> None:
    async def scenario() -> None:
        answers = (Answer(first_after_s=0.5), Answer(hit_tokens=16))
        async with tidy(ScriptedReplica("a", *answers)) as made:
            first = asyncio.create_task(tokens(made, request("first", token_first=0)))
            await asyncio.sleep(0.1)
            await made.hold("a", request(token_first=0).prompt[:32])
            await tokens(made, request("second", token_first=0))
            await first
            totals = made.dispatch.totals
            assert (totals.intended_hit_blocks, totals.intended_false_hit_blocks) == (1, 1)
            assert (totals.registry_hit_blocks, totals.registry_false_hit_blocks) == (2, 1)

    run(scenario())


def test_a_guess_is_no_hit_that_was_to_come_true() -> None:
    """Power: without a registry a quarter of an unknown prompt is counted on by rendezvous."""

    async def scenario() -> None:
        answers = (Answer(first_after_s=0.5), Answer(hit_tokens=48))
        async with tidy(ScriptedReplica("a", *answers)) as made:
            made.registry.is_down = True
            first = asyncio.create_task(tokens(made, request("first", token_first=0)))
            await asyncio.sleep(0.1)
            totals = made.dispatch.totals
            await tokens(made, request("second", token_first=0))
            assert (totals.intended_hit_blocks, totals.intended_false_hit_blocks) == (3, 0)
            await first
            assert (totals.intended_hit_blocks, totals.intended_false_hit_blocks) == (3, 0)
            made.registry.is_down = False

    run(scenario())


def test_blocks_too_few_for_who_waits_are_stranded_until_it_has_its_place() -> None:
    """Two replicas of 100 blocks: one request takes 94 of each, the third needs 24 somewhere."""

    async def scenario() -> None:
        async with tidy(ScriptedReplica("a"), ScriptedReplica("b")) as made:
            assert made.dispatch.blocks_stranded() == 0
            first = [
                asyncio.create_task(
                    tokens(made, request(f"{n}", prompt_tokens=90 * 16, tokens_max=100))
                )
                for n in range(2)
            ]
            await asyncio.sleep(0.5)
            third = asyncio.create_task(tokens(made, request("third", prompt_tokens=20 * 16)))
            await asyncio.sleep(0.1)
            assert made.dispatch.waiting == 1
            unused = sum(replica.blocks_free for replica in made.fleet.view().replicas)
            assert 0 < unused == made.dispatch.blocks_stranded()
            await asyncio.gather(*first, third)
            assert made.dispatch.blocks_stranded() == 0

    run(scenario())
