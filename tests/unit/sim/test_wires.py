"""Copies that share a wire share its bandwidth."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.sim.loop import VirtualTimeLoop
from orchestrator.sim.wires import Wires

BLOCK_NS = 1_000_000


def times(*copies: tuple[int, str, str]) -> list[float]:
    """When each of these, begun together, has arrived: in milliseconds."""

    async def live() -> list[float]:
        wires = Wires(BLOCK_NS)
        loop = asyncio.get_running_loop()

        async def arrive(blocks: int, source: str, target: str) -> float:
            await wires.carry(blocks, source, target)
            return loop.time() * 1000

        return await asyncio.gather(*(arrive(*copy) for copy in copies))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(live())


def test_a_copy_alone_takes_its_blocks_time() -> None:
    assert times((20, "a", "b")) == pytest.approx([20])


def test_copies_between_others_do_not_meet() -> None:
    assert times((20, "a", "b"), (20, "c", "d"), (20, "b", "a")) == pytest.approx([20, 20, 20])


@pytest.mark.parametrize("other", [("a", "c"), ("c", "b")])
def test_copies_of_one_source_or_to_one_target_share(other: tuple[str, str]) -> None:
    assert times((16, "a", "b"), (16, *other)) == pytest.approx([24, 32])


def test_a_short_copy_is_not_held_up_by_all_of_a_long_one() -> None:
    long, short = times((400, "a", "b"), (4, "c", "b"))
    assert short == pytest.approx(12)
    assert long == pytest.approx(404)
