"""Copies in simulations go over the link that is shipped: one number says how fast it is."""

from __future__ import annotations

from orchestrator.config import Deployment
from orchestrator.live.commands.options import NAMED
from orchestrator.sim.world import TOKEN_BYTES, WorldConfig
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig


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


def test_a_deployment_without_a_link_copies_nothing() -> None:
    assert Deployment(redis_url="redis://nowhere", copy_gbps=0).copy_bytes_per_s == 0
