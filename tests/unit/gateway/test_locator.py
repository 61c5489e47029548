"""Where a prefix is, with a registry that answers, and without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.intended import IntendedBlocks
from orchestrator.gateway.locator import Locator, LocatorConfig, rendezvous
from orchestrator.gateway.totals import Totals
from protos.hashing import BlockHash, block_hashes, scope_hash
from protos.messages import ReplicaId
from protos.registry import Member, RegistryUnavailable
from tests.unit.control.reports import A, B, member, report
from tests.unit.dispatch.virtual_time import LoopClock, run

LATER = 10**18


class Registry:
    """Says what it is told to, or is away."""

    def __init__(self) -> None:
        self.blocks: Mapping[ReplicaId, int] | None = {}
        self.asked = 0

    async def members(self) -> tuple[Member, ...]:
        return ()

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        self.asked += 1
        if self.blocks is None:
            raise RegistryUnavailable
        return self.blocks


class Parts:
    """A locator and all around it; both replicas live."""

    def __init__(self) -> None:
        cluster = Cluster(ClusterConfig())
        self.registry, self.totals = Registry(), Totals()
        self.intended = IntendedBlocks(cluster.members)
        cluster.observe_members([member(A), member(B)])
        for replica_id in (A, B):
            cluster.observe_report(report(replica_id), 0)
        self.locator = Locator(
            self.registry, self.intended, cluster, LoopClock(), self.totals, LocatorConfig()
        )

    async def hits(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        return self.locator.hits(await self.locator.locate(hashes), hashes).blocks


def chain(name: str, blocks: int = 40) -> tuple[BlockHash, ...]:
    return block_hashes(range(blocks * 4), block_size=4, root=scope_hash([name]))


def test_what_the_registry_shows_and_what_is_to_come_are_one_answer() -> None:
    async def scenario() -> None:
        parts = Parts()
        parts.registry.blocks = {A: 10}
        parts.intended.expect(A, 1, chain("x")[:20], held=0, until_ns=LATER)
        parts.intended.expect(B, 1, chain("x")[:5], held=0, until_ns=LATER)
        assert await parts.hits(chain("x")) == {A: 20, B: 5}
        assert parts.totals.registry_missed == 0

    run(scenario())


def test_without_a_registry_a_prefix_is_looked_for_where_it_went() -> None:
    """Also long after it came true."""

    async def scenario() -> None:
        parts = Parts()
        parts.intended.expect(A, 1, chain("x"), held=30, until_ns=1)
        parts.registry.blocks = None
        assert await parts.hits(chain("x")) == {A: 40}
        assert await parts.hits(chain("x")) == {A: 40}
        assert parts.registry.asked == 1, "nobody asks again for a while"
        assert parts.totals.registry_missed == 2

    run(scenario())


def test_without_a_registry_an_unknown_prefix_belongs_to_one_replica_at_every_gateway() -> None:
    async def scenario() -> None:
        parts, other = Parts(), Parts()
        parts.registry.blocks = other.registry.blocks = None
        owners: Counter[ReplicaId] = Counter()
        for number in range(200):
            hits = await parts.hits(chain(f"{number}"))
            assert hits == await other.hits(chain(f"{number}"))
            ((owner, blocks),) = hits.items()
            assert blocks == 10, "a quarter: nobody knows whether it is there"
            owners[owner] += 1
        assert min(owners.values()) > 60, "and both have their share"

    run(scenario())


def test_prompts_that_begin_alike_belong_to_the_same_replica() -> None:
    async def scenario() -> None:
        parts = Parts()
        parts.registry.blocks = None
        owners = {next(iter(await parts.hits(chain("x", blocks)))) for blocks in range(8, 40)}
        assert len(owners) == 1

    run(scenario())


def test_a_registry_that_knows_nothing_is_not_one_that_is_away() -> None:
    async def scenario() -> None:
        parts = Parts()
        assert await parts.hits(chain("x")) == {}

    run(scenario())


def test_a_replica_that_leaves_takes_only_its_own_names_with_it() -> None:
    names = [chain(f"{n}", 1)[0] for n in range(300)]
    replicas = [ReplicaId(f"{n}") for n in range(5)]
    before = [rendezvous(name, replicas) for name in names]
    after = [rendezvous(name, replicas[:-1]) for name in names]
    assert all(b == a for b, a in zip(before, after, strict=True) if b != replicas[-1])
