"""A pipe delays, keeps the order, and can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.sim.loop import VirtualTimeLoop
from orchestrator.sim.pipe import Pipe

Arrived = list[tuple[int, float]]


def run(work: Callable[[Pipe[int]], Awaitable[None]]) -> Arrived:
    """What arrived, and when."""
    arrived: Arrived = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        pipe = Pipe[int](lambda number: arrived.append((number, loop.time())), delay_s=0.5)
        await work(pipe)
        await asyncio.sleep(10)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(live())
    return arrived


def test_messages_of_one_instant_arrive_in_the_order_they_were_sent() -> None:
    async def work(pipe: Pipe[int]) -> None:
        for number in range(100):
            pipe.send(number)

    assert run(work) == [(number, 0.5) for number in range(100)]


def test_a_cut_pipe_loses_what_is_under_way_and_what_follows() -> None:
    async def work(pipe: Pipe[int]) -> None:
        pipe.send(1)
        await asyncio.sleep(0.6)
        pipe.send(2)
        pipe.cut()
        pipe.send(3)

    assert run(work) == [(1, 0.5)]


def test_what_was_held_up_arrives_at_once_and_in_order_when_the_pipe_flows() -> None:
    async def work(pipe: Pipe[int]) -> None:
        pipe.hold()
        pipe.send(1)
        pipe.send(2)
        await asyncio.sleep(2)
        pipe.send(3)
        pipe.flow()

    assert run(work) == [(1, 2.0), (2, 2.0), (3, 2.5)]
