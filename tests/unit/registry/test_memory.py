"""What only the memory registry promises: exact time, and the same answer every time."""

from __future__ import annotations

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.hashing import BlockHash
from protos.messages import ModelCard, ReplicaId
from protos.registry import BlockBatch, Leader, Membership, ReplicaRecord

CARD = ModelCard("tiny", "r1", "float32", block_size=4, context_tokens_max=4096, vocab_size=256)
LEASE_NS = 3_000_000_000


class Time:
    now_ns = 0


def record(name: str) -> ReplicaRecord:
    return ReplicaRecord(ReplicaId(name), f"{name}:9000", CARD, blocks_total=64)


async def test_a_lease_ends_at_its_nanosecond() -> None:
    time = Time()
    registry = MemoryRegistry(lambda: time.now_ns, RegistryConfig(lease_ms=3000))
    membership = await registry.join(record("a"))
    assert await registry.lead("one", "here:7000") == 1
    time.now_ns = LEASE_NS - 1
    assert await registry.leader() == Leader("here:7000", term=1)
    assert await registry.renew(membership, draining=False)
    time.now_ns = LEASE_NS
    assert await registry.leader() is None
    assert len(await registry.members()) == 1
    time.now_ns = 2 * LEASE_NS - 1
    assert await registry.members() == ()


async def test_epochs_and_slots_depend_on_the_order_of_joins_alone() -> None:
    """So that a seed replays byte for byte."""
    registry = MemoryRegistry(lambda: 0, RegistryConfig())
    joined = [await registry.join(record(name)) for name in ("b", "a", "b")]
    assert joined == [
        Membership(ReplicaId("b"), slot=0, epoch=1),
        Membership(ReplicaId("a"), slot=1, epoch=2),
        Membership(ReplicaId("b"), slot=0, epoch=3),
    ]


async def test_a_hole_in_the_chain_ends_the_prefix() -> None:
    """The walk is exact even where eviction did not go leaf first."""
    registry = MemoryRegistry(lambda: 0, RegistryConfig())
    blocks = tuple(BlockHash(bytes([i]) * 16) for i in range(4))
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, blocks, ()))
    assert await registry.publish(membership, BlockBatch(1, (), removed=blocks[2:3]))
    assert await registry.locate(blocks) == {"a": 2}
