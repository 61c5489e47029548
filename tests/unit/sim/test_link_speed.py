"""Copies in simulations go over the link that is shipped: one number says how fast it is."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from orchestrator.config import Deployment
from orchestrator.live.commands.options import NAMED
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import NOTHING, CostExecutor
from orchestrator.sim.loop import VirtualTimeLoop
from orchestrator.sim.world import BUS_BYTES_PER_S, TOKEN_BYTES, WorldConfig
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig
from replicas.engine.plan import BlockId


def test_whoever_says_nothing_has_the_same_link_in_both_worlds() -> None:
    shipped = Deployment(redis_url="redis://nowhere").copy_bytes_per_s
    assert ReplicaConfig(ReplicaId("a")).copy_bytes_per_s == shipped
    assert WorldConfig().link_bytes_per_s == shipped
    option = NAMED["copy_gbps"](lambda: None).__click_params__[0]  # type: ignore[attr-defined]
    assert Deployment(redis_url="redis://nowhere", copy_gbps=option.default) == Deployment(
        redis_url="redis://nowhere"
    )


def test_a_simulated_block_takes_as_long_as_its_bytes_on_that_link() -> None:
    config = WorldConfig(block_size=512, link_bytes_per_s=12_500_000_000)
    assert config.wire_block_ns == 512 * TOKEN_BYTES * 1_000_000_000 // 12_500_000_000
    assert WorldConfig(block_ns=7).wire_block_ns == 7


def test_a_block_that_has_come_holds_up_the_next_step_while_it_is_written() -> None:
    config = WorldConfig(block_size=512)
    assert config.write_block_ns == 512 * TOKEN_BYTES * 1_000_000_000 // BUS_BYTES_PER_S

    async def took_ns(blocks: int) -> int:
        clock = VirtualClock(cast(VirtualTimeLoop, asyncio.get_running_loop()))
        executor = CostExecutor(clock, CostModel(), write_block_ns=config.write_block_ns)
        await executor.write_blocks([BlockId(0)] * blocks, [NOTHING] * blocks)
        return clock.now_ns()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        began_ns = runner.run(took_ns(0))
        assert runner.run(took_ns(3)) - began_ns == pytest.approx(3 * config.write_block_ns)


def test_a_deployment_without_a_link_copies_nothing() -> None:
    assert Deployment(redis_url="redis://nowhere", copy_gbps=0).copy_bytes_per_s == 0
