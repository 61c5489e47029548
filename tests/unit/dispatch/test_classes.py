"""Classes, deadlines and tenants on the request path: who is served, and who is turned away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.gateway.errors import Shed
from orchestrator.policy.admit import AdmitConfig, AdmitReason
from orchestrator.policy.queue import QueueConfig
from protos.messages import Request, RequestClass
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import ScriptedReplica, World, request, tidy, tokens

INTERACTIVE, AGENT, BATCH = RequestClass
SECOND = 1_000_000_000


def large(name: str, request_class: RequestClass = INTERACTIVE, tenant: str = "") -> Request:
    """A request that leaves no room for another one on 100 blocks."""
    asked = request(name, prompt_tokens=80 * 16, tokens_max=2)
    return replace(asked, request_class=request_class, tenant=tenant)


async def fill(made: World, seconds: float = 1.0) -> asyncio.Task[list[int]]:
    """Occupies the replica for so long."""
    what = request("filling", prompt_tokens=90 * 16, tokens_max=int(seconds * 100))
    filling = asyncio.create_task(tokens(made, what))
    await asyncio.sleep(0.1)
    return filling


async def wait_in_line(made: World, *whats: Request) -> list[asyncio.Task[list[int]]]:
    """All of them, one after the other."""
    tasks = []
    for what in whats:
        tasks.append(asyncio.create_task(tokens(made, what)))
        await asyncio.sleep(0.001)
    return tasks


def test_who_waits_is_served_by_class_and_not_by_arrival() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            filling = await fill(made)
            whats = [large("b", BATCH), large("a", AGENT), large("i"), large("a2", AGENT)]
            waiting = await wait_in_line(made, *whats)
            assert [made.dispatch.waiting_of(each) for each in RequestClass] == [1, 2, 1]
            await asyncio.gather(filling, *waiting)
            assert replica.served == ["filling", "i", "a", "a2", "b"]

    run(scenario())


def test_a_tenant_that_floods_the_line_holds_up_no_other() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            filling = await fill(made)
            flood = [large(f"f{number}", tenant="flood") for number in range(5)]
            waiting = await wait_in_line(made, *flood, large("x", tenant="lone"))
            await asyncio.gather(filling, *waiting)
            assert replica.served.index(large("x").request_id) == 2

    run(scenario())


def test_an_earlier_deadline_goes_first() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            filling = await fill(made)
            (late,) = await wait_in_line(made, large("late"))

            async def hurried() -> None:
                deadline_ns = int((asyncio.get_running_loop().time() + 20) * SECOND)
                async with await made.dispatch.start(large("soon"), deadline_ns=deadline_ns) as s:
                    assert len([delta async for delta in s]) == 2

            await asyncio.gather(filling, late, hurried())
            assert replica.served == ["filling", "soon", "late"]

    run(scenario())


def test_in_a_full_line_a_better_class_pushes_the_latest_of_the_worst_out() -> None:
    async def scenario() -> None:
        replica = ScriptedReplica("a")
        config = DispatchConfig(admit=AdmitConfig(queue_max=3))
        async with tidy(replica, config=config) as made:
            filling = await fill(made)
            waiting = await wait_in_line(
                made, large("b1", BATCH), large("b2", BATCH), large("a1", AGENT), large("i1")
            )
            with pytest.raises(Shed) as caught:
                await waiting[1]
            assert caught.value.code == "pushed_out"
            assert caught.value.retry_after_s >= 1
            with pytest.raises(Shed) as refused:
                await tokens(made, large("b3", BATCH))
            assert refused.value.code == "queue_full"
            await asyncio.gather(filling, waiting[0], *waiting[2:])
            assert replica.served == ["filling", "i1", "a1", "b1"]
            assert made.dispatch.totals.turned_away == {
                (BATCH, AdmitReason.PUSHED_OUT): 1,
                (BATCH, AdmitReason.QUEUE_FULL): 1,
            }
            events = {name: told(made, name) for name in ("b2", "b3", "i1")}
            assert [what for what, _ in events["b2"]] == ["queued", "turned_away"]
            assert events["b2"][0][1].startswith("behind_others, ")
            assert "1 ahead, " in events["b2"][0][1], "b1"
            assert events["b2"][1][1].startswith("pushed_out, ")
            ((what, why),) = events["b3"]
            assert what == "turned_away"
            assert why.startswith("queue_full, ") and "3 ahead, " in why
            assert f"to come again in {refused.value.retry_after_s} s" in why
            assert [what for what, _ in events["i1"]] == ["queued", "placed"]

    run(scenario())


def told(made: World, name: str) -> list[tuple[str, str]]:
    """What the record of a request has, each with the figures it was decided by."""
    record = made.dispatch.decisions.of(large(name).request_id)
    assert record is not None
    return [(e["event"], e.get("detail", "")) for e in record.to_json()["events"]]


def test_patience_depends_on_the_class() -> None:
    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            filling = await fill(made, seconds=200)
            began = asyncio.get_running_loop().time()
            waiting = await wait_in_line(made, large("b", BATCH), large("a", AGENT), large("i"))
            ends: dict[str, float] = {}

            async def note(name: str, task: asyncio.Task[list[int]]) -> None:
                await asyncio.gather(task, return_exceptions=True)
                ends[name] = asyncio.get_running_loop().time() - began

            await asyncio.gather(*(note(n, t) for n, t in zip("bai", waiting, strict=True)))
            assert ends["i"] == pytest.approx(30, abs=0.1)
            assert ends["a"] == pytest.approx(120, abs=0.1)
            assert ends["b"] > 190
            await filling

    run(scenario())


def test_a_starved_class_moves_though_better_ones_never_stop_asking() -> None:
    """Chats keep the replica full and somebody of them waits at any time."""

    async def scenario() -> None:
        replica = ScriptedReplica("a")
        config = DispatchConfig(queue=QueueConfig(starved_ns=2 * SECOND))
        async with tidy(replica, config=config) as made:
            chats = [
                asyncio.create_task(chat_for_ever(made, f"c{number}", seconds=10))
                for number in range(3)
            ]
            await asyncio.sleep(0.5)
            began = asyncio.get_running_loop().time()
            await tokens(made, large("b", BATCH))
            assert 2 <= asyncio.get_running_loop().time() - began < 4
            await asyncio.gather(*chats)

    run(scenario())


async def chat_for_ever(made: World, name: str, *, seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    number = 0
    while asyncio.get_running_loop().time() < until:
        number += 1
        await tokens(made, large(f"{name}-{number}"))


def test_a_tenant_is_charged_what_it_used_and_not_what_was_predicted() -> None:
    """Of both a residence of three seconds is predicted; `short` stays 20 ms and `long` 4 s.

    Power: with `settle` doing nothing, `long` has been given less, by its smaller prompt.
    """

    async def scenario() -> None:
        replica = ScriptedReplica("a")
        async with tidy(replica) as made:
            held = await wait_in_line(made, replace(request("first", tokens_max=1200), tenant="z"))
            filling = await fill(made, seconds=3)
            # Somebody of each waits all the time, so that no account is closed.
            waiting = await wait_in_line(
                made,
                replace(request("long", prompt_tokens=50 * 16, tokens_max=400), tenant="long"),
                replace(request("short", prompt_tokens=60 * 16, tokens_max=2), tenant="short"),
                replace(request("l2", prompt_tokens=60 * 16, tokens_max=2), tenant="long"),
                replace(request("s2", prompt_tokens=60 * 16, tokens_max=2), tenant="short"),
            )
            await asyncio.gather(filling, *held, *waiting)
            assert replica.served[2:] == ["long", "short", "s2", "l2"]

    run(scenario())
