"""The ceiling: one infinite prefix cache that every replica can read at no cost.

No policy can hit more. Whatever any replica has ever computed is found by
every other one: a block that is missing at an admission but was computed
somewhere takes a block of this replica's memory and no time. Routing is the
production policy, told by the registry that everybody holds everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.registry.config import RegistryConfig
from orchestrator.sim.watched_registry import WatchedRegistry
from protos.hashing import BlockHash, reusable_blocks
from protos.messages import ReplicaId
from replicas.engine.block_pool import BlockPool
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.prefix_cache import PrefixCache, content_of
from replicas.engine.scheduler import Scheduler
from replicas.engine.sequence import Sequence as EngineSequence

Computed = set[BlockHash]  # names of all blocks ever computed; only ever asked for membership


class CeilingCache(PrefixCache):
    """A prefix cache that finds in its own pool what others have computed."""

    def __init__(self, pool: BlockPool, computed: Computed) -> None:
        super().__init__(pool)
        self._own_pool = pool
        self._computed = computed

    def match(self, sequence: EngineSequence) -> None:
        super().match(sequence)
        pool = self._own_pool
        for index in range(
            sequence.named, reusable_blocks(sequence.length, block_size=sequence.block_size)
        ):
            name = sequence.block_name(index)
            if name not in self._computed or not pool.blocks_available:
                return
            # Names are closed under "parent": after the first that is missing, all are.
            block = pool.allocate()
            pool.name(block, content_of(sequence, index))
            sequence.block_table.append(block)
            sequence.named += 1

    def look_up(self, sequence: EngineSequence) -> None:
        super().look_up(sequence)
        reusable = reusable_blocks(sequence.length, block_size=sequence.block_size)
        while sequence.found < reusable and sequence.block_name(sequence.found) in self._computed:
            sequence.found += 1

    def store(self, sequence: EngineSequence) -> None:
        before = sequence.named
        super().store(sequence)
        self._computed.update(sequence.block_name(index) for index in range(before, sequence.named))


class CeilingEngine(Engine):
    """The production engine over a CeilingCache."""

    def __init__(self, config: EngineConfig, computed: Computed) -> None:
        super().__init__(config)
        self._cache = CeilingCache(self._pool, computed)
        self._scheduler = Scheduler(config, self._pool, self._cache)


class CeilingRegistry(WatchedRegistry):
    """Says of every live replica that it holds all that was ever published."""

    def __init__(
        self, now_ns: Callable[[], int], config: RegistryConfig, computed: Computed
    ) -> None:
        super().__init__(now_ns, config)
        self._computed = computed

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        held = next(
            (index for index, name in enumerate(hashes) if name not in self._computed), len(hashes)
        )
        return {member.record.replica_id: held for member in await self.members() if held}
