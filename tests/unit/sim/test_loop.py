"""Asyncio means the same in virtual time, only sooner."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.loop import NS_PER_S, Deadlock, VirtualTimeLoop

Value = TypeVar("Value")


def run(work: Coroutine[Any, Any, Value]) -> Value:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_sleep_moves_the_clock_by_exactly_its_length() -> None:
    async def work() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        clock = VirtualClock(loop)
        for _ in range(1000):
            await clock.sleep(0.001)
        return clock.now_ns()

    assert run(work()) == NS_PER_S


def test_a_timeout_ends_what_it_limits_when_it_is_due() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(60)
        return now()

    assert run(work()) == 30


def test_wait_for_gives_up_on_an_event_that_never_comes() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 7)
        return now()

    assert run(work()) == 7


def test_tasks_of_a_group_wake_in_order_of_time() -> None:
    woken: list[tuple[int, float]] = []

    async def sleeper(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, now()))

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            for seconds in (3, 1, 2):
                tasks.create_task(sleeper(seconds))

    run(work())
    assert woken == [(1, 1), (2, 2), (3, 3)]


def test_a_failing_task_cancels_its_group_at_once() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError

    async def work() -> float:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.sleep(1000))
                tasks.create_task(fail())
        return now()

    assert run(work()) == 1


def test_a_cancelled_sleep_leaves_the_clock_where_it_is() -> None:
    async def work() -> float:
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return now()

    assert run(work()) == 5


def test_a_world_that_waits_for_nothing_is_reported_as_dead() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    loop = VirtualTimeLoop()
    task = loop.create_task(work())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_wait_shorter_than_a_nanosecond_takes_one() -> None:
    """Or whoever waits for the rest of a time, again and again, would wait for ever."""

    async def work() -> float:
        await asyncio.sleep(1e-10)
        return now()

    assert run(work()) == 1e-9


def test_timers_of_one_instant_go_off_in_the_order_in_which_they_were_set() -> None:
    order: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for number in range(100):
            loop.call_later(1, order.append, number)
        await asyncio.sleep(2)

    run(work())
    assert order == list(range(100))


def test_an_error_in_a_callback_stops_nobody_else() -> None:
    errors: list[object] = []
    called: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        loop.call_soon(int, "no number")
        loop.call_soon(called.append, "next")
        await asyncio.sleep(1)

    run(work())
    assert [type(error) for error in errors] == [ValueError]
    assert called == ["next"]


def test_the_tasks_of_a_group_are_cancelled_in_the_order_of_their_making() -> None:
    """Sets order them by hash: by address that would be as memory has it."""
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                for number in range(500):
                    group.create_task(wait(number))

    run(work())
    assert ended == list(range(500))
