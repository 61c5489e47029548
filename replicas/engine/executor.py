"""The seam between what is decided and what is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from replicas.engine.plan import BlockId, StepOutcome, StepPlan


class Executor(Protocol):
    """Runs steps, one at a time, in order. Live: the torch runner. Simulated: a cost model.

    An exception means that the replica can no longer be trusted. Blocks are written
    between two steps only, by block tables that hold them. They are read then, too; at any
    other time what comes is only good if the block was findable before and after.
    """

    async def execute(self, plan: StepPlan) -> StepOutcome:
        """Compute the step, or several in a row where the plan allows it.

        Whoever takes several ends with the one that runs as soon as the engine is given
        something to do: the next plan may be another then, and somebody waits for it.
        """
        ...

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        """The KV of each block, all layers of it, as another executor can write it."""
        ...

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        """Put KV in place. ValueError for a payload of another size than a block's."""
        ...
