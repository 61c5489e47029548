"""A gateway goes on with what another one began: adopt it where it waits, or compute it again.

Power: closing the chosen answer with the others, or not closing the others,
leaves sequences behind in the last scenarios.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.gateway.errors import ReplicaFailed
from orchestrator.gateway.search import SearchConfig
from orchestrator.gateway.totals import AdoptionEnd
from protos.messages import Delta, Handoff, Request
from tests.unit.dispatch.answers import whole
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import (
    CARD,
    Answer,
    Leave,
    ScriptedReplica,
    World,
    delta,
    request,
    tidy,
)

TOKENS = 6


async def taken_over(
    made: World, what: Request, *, finished: frozenset[int] = frozenset()
) -> dict[int, list[int]]:
    """The tokens of every choice that had not finished."""
    said: dict[int, list[int]] = {c: [] for c in range(what.choices) if c not in finished}
    async with await made.dispatch.take_over(what, CARD, finished=finished) as stream:
        async for part in stream:
            assert part.first_index == len(said[part.choice])
            said[part.choice] += [sampled.token for sampled in part.tokens]
    return said


def test_choices_are_found_wherever_they_wait() -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name) for name in "abcd"]
        async with tidy(*replicas) as made:
            what = request(tokens_max=TOKENS, choices=3)
            for choice, said in enumerate((0, 3, 5)):
                replicas[choice].parked[what.request_id, choice] = said
            assert await taken_over(made, what) == whole(what)
            assert [len(replica.asked) for replica in replicas] == [0] * 4
            assert made.dispatch.totals.takeovers == {AdoptionEnd.ADOPTED: 3}

    run(scenario())


def test_what_nobody_has_is_computed_again_from_its_beginning() -> None:
    async def scenario() -> None:
        first, second = ScriptedReplica("a"), ScriptedReplica("b")
        async with tidy(first, second) as made:
            what = request(tokens_max=TOKENS, choices=2)
            first.parked[what.request_id, 1] = 2
            assert await taken_over(made, what) == whole(what)
            (again,) = first.asked + second.asked
            assert (again.first_choice, again.choices, again.output) == (0, 1, ())
            assert made.dispatch.totals.takeovers == {AdoptionEnd.ADOPTED: 1, AdoptionEnd.GONE: 1}

    run(scenario())


def test_a_choice_that_parks_a_moment_later_is_found_all_the_same() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            what = request(tokens_max=TOKENS)
            taking = asyncio.create_task(taken_over(made, what))
            await asyncio.sleep(0.15)
            replica.parked[what.request_id, 0] = 2
            assert await taking == whole(what)
            assert replica.asked == []

    run(scenario())


def test_choices_that_had_finished_are_not_asked_for() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            what = request(tokens_max=TOKENS, choices=3)
            said = await taken_over(made, what, finished=frozenset({0, 2}))
            assert said == {1: whole(what)[1]}
            assert await taken_over(made, what, finished=frozenset({0, 1, 2})) == {}
            assert len(replica.asked) == 1

    run(scenario())


def test_what_was_taken_over_may_move_on_and_be_lost_like_anything() -> None:
    async def scenario() -> None:
        first = ScriptedReplica("a", Answer(leaves=(Leave(3, None, "b"),)))
        second = ScriptedReplica("b", Answer(lost_before=5, dies=True))
        async with tidy(first, second, ScriptedReplica("c")) as made:
            what = request(tokens_max=TOKENS)
            first.parked[what.request_id, 0] = 1
            assert await taken_over(made, what) == whole(what)

    run(scenario())


class Keeping(ScriptedReplica):
    """What it says is not closed by the mere loss of the last reference to it."""

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        events = super().adopt(request, choice=choice, next_index=next_index)
        self.kept = events
        return events


def test_two_replicas_that_have_a_choice_are_one_too_many() -> None:
    """After a move whose outcome its source did not learn. One of them is told to stop."""

    async def scenario() -> None:
        replicas = [Keeping(name) for name in "ab"]
        async with tidy(*replicas) as made:
            what = request(tokens_max=TOKENS)
            for replica in replicas:
                replica.parked[what.request_id, 0] = 2
            assert await taken_over(made, what) == whole(what)
            assert sum(len(replica.cancelled) for replica in replicas) == 1

    run(scenario())


class Silent(ScriptedReplica):
    """Never answers a claim."""

    async def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        await asyncio.Event().wait()
        yield delta(request, next_index, choice)


def test_a_replica_that_does_not_answer_is_waited_for_only_so_long() -> None:
    async def scenario() -> None:
        config = DispatchConfig(search=SearchConfig(timeout_s=0.7))
        async with tidy(Silent("a"), ScriptedReplica("b"), config=config) as made:
            what = request(tokens_max=TOKENS)
            assert await taken_over(made, what) == whole(what)
            assert asyncio.get_running_loop().time() < 1

    run(scenario())


@pytest.mark.parametrize("after_s", [0.0005, 0.002, 0.02, 0.2, 0.5])
@pytest.mark.parametrize("parked", [0, 1, 2])
def test_a_client_that_leaves_at_any_moment_leaves_nothing(after_s: float, parked: int) -> None:
    async def scenario() -> None:
        replicas = [ScriptedReplica(name) for name in "ab"]
        async with tidy(*replicas) as made:
            what = request(tokens_max=1000, choices=2)
            for choice in range(parked):
                replicas[choice].parked[what.request_id, choice] = 4
            taking = asyncio.create_task(taken_over(made, what))
            await asyncio.sleep(after_s)
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            assert taking.cancelled()

    run(scenario())


def test_other_weights_do_not_go_on_with_it() -> None:
    async def scenario() -> None:
        config = DispatchConfig(queue_ns_max=2_000_000_000)
        other = ScriptedReplica("a", card=replace(CARD, revision="r2"))
        async with tidy(other, config=config) as made:
            with pytest.raises(ReplicaFailed):
                await taken_over(made, request(tokens_max=TOKENS))
            assert other.asked == []

    run(scenario())
