"""The wires of simulated replicas: one out and one in at each, of one speed.

Blocks go from one replica to another a few at a time, and those of several
copies in turn: whoever asks first goes first, and then waits again. So copies
that share a wire share its bandwidth, and each is as slow as its busier end.
"""

from __future__ import annotations

import asyncio

from orchestrator.sim.loop import NS_PER_S

# Blocks that go at once. Fewer would be fairer, and take longer to simulate.
TURN_BLOCKS = 8


class Wires:
    """Of all replicas of a world. `block_ns`: that one block is on a wire."""

    def __init__(self, block_ns: int) -> None:
        self.block_ns = block_ns
        self._free_at: dict[tuple[str, str], float] = {}  # the wires that were ever used

    async def carry(self, blocks: int, source: str, target: str) -> None:
        """Until so many blocks have gone from one to the other."""
        for left in range(blocks, 0, -TURN_BLOCKS):
            await self._take_turn(min(left, TURN_BLOCKS), (source, "out"), (target, "in"))

    async def _take_turn(self, blocks: int, *wires: tuple[str, str]) -> None:
        now = asyncio.get_running_loop().time()
        begin = max(now, *(self._free_at.get(wire, 0.0) for wire in wires))
        end = begin + blocks * self.block_ns / NS_PER_S
        self._free_at.update(dict.fromkeys(wires, end))
        await asyncio.sleep(end - now)
