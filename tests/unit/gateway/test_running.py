from __future__ import annotations

import asyncio

import pytest

from orchestrator.gateway.caller import ANYBODY
from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.running import Cancelled, Running
from protos.messages import RequestId

ID = RequestId("r-1")


async def test_a_request_that_waits_is_ended_and_told_so() -> None:
    running = Running()
    waiting = asyncio.Event()

    async def work() -> None:
        async with running.track(ID, ""):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await waiting.wait()
    assert running.cancel(ID, ANYBODY)
    assert running.cancel(ID, ANYBODY), "it has not ended yet"
    with pytest.raises(Cancelled):
        await task
    assert not running.cancel(ID, ANYBODY)


async def test_a_client_that_leaves_is_not_a_cancel_call() -> None:
    running = Running()
    waiting = asyncio.Event()

    async def work() -> None:
        async with running.track(ID, ""):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running.cancel(ID, ANYBODY)


async def test_both_at_once_count_as_leaving() -> None:
    running = Running()
    waiting = asyncio.Event()

    async def work() -> None:
        async with running.track(ID, ""):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await waiting.wait()
    running.cancel(ID, ANYBODY)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_that_comes_too_late_does_not_hit_what_follows() -> None:
    running = Running()
    async with running.track(ID, ""):
        assert running.cancel(ID, ANYBODY)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_two_requests_may_not_run_under_one_id() -> None:
    running = Running()
    async with running.track(ID, ""):
        with pytest.raises(InvalidRequest) as refused:
            async with running.track(ID, ""):
                pass
        assert refused.value.code == "duplicate_request_id"
        assert running.cancel(ID, ANYBODY), "the first one still runs"
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
    async with running.track(ID, ""):
        pass


async def test_of_several_who_come_again_at_once_only_the_last_one_stays() -> None:
    running = Running()
    came: list[str] = []
    everybody_came = asyncio.Event()

    async def work(name: str) -> None:
        await running.supersede(ID, "")
        async with running.track(ID, ""):
            came.append(name)
            if name == "last":
                everybody_came.set()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(work(name)) for name in ("first", "second", "third", "last")]
    async with asyncio.timeout(60):
        await everybody_came.wait()
        ended = await asyncio.gather(*tasks[:-1], return_exceptions=True)
    assert [isinstance(error, Cancelled) and error.code for error in ended] == ["superseded"] * 3
    assert running.cancel(ID, ANYBODY)
    with pytest.raises(Cancelled):
        await tasks[-1]
    assert not running.cancel(ID, ANYBODY), "nothing is left"
