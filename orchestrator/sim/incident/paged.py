"""Paged memory: the production engine itself, looked at in the incident's terms.

Nothing is simulated here but the look. Without sharing means that each request
has a salt of its own: the engine then can find no other's blocks, by the very
rule that keeps tenants apart. The engine refuses nothing that fits it alone,
so there are no allocation failures to take; a request waits until there are
blocks. One that is out of blocks while it decodes is preempted, which is
counted as such.
"""

from __future__ import annotations

from orchestrator.sim.incident.memory import SHARED, Area, MemoryState, draw
from orchestrator.sim.incident.workload import kind_of
from replicas.engine.engine import Engine
from replicas.engine.plan import BlockId


class PagedEngine(Engine):
    """The production engine, with a view of its memory."""

    @property
    def preemptions(self) -> int:
        """How often a sequence lost its blocks so far."""
        return self._tally.preemptions

    def memory_state(self) -> MemoryState:
        """What the memory looks like now."""
        size = self.config.card.block_size
        written: dict[BlockId, int] = {}
        kinds: dict[BlockId, str] = {}
        for sequence in self._scheduler.running:
            kind = kind_of(sequence.request)
            for index, block in enumerate(sequence.block_table):
                slots = min(size, max(0, sequence.computed - index * size))
                written[block] = max(slots, written.get(block, 0))
                kinds[block] = kind if block not in kinds else SHARED
        free = self._pool.blocks_available * size
        return MemoryState(
            slots_total=self._pool.blocks_total * size,
            slots_free=free,
            slots_written=sum(written.values()),
            largest_hole=free,  # any block serves: all that is free can go to one sequence
            sequences=len(self._scheduler.running),
            cells=draw(
                (Area(b * size, (b + 1) * size, kind) for b, kind in kinds.items()),
                self._pool.blocks_total * size,
            ),
        )
