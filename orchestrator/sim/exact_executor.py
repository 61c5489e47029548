"""An executor whose tokens depend on every slot of KV that a sequence can see.

A slot holds 8 bytes: a mix of its token, its position and the slot before it,
as a layer's KV depends on all tokens so far. To sample is to digest every slot
in the block table, so a block that is wrong, stale, missing or only half
written changes the token. What a request must get can still be computed
(`completion`), from its prompt and seed alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

from orchestrator.control.seams import Clock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import CostExecutor
from orchestrator.workload.tokens import VOCAB_SIZE, sampled
from protos.messages import Request, SampledToken
from replicas.engine.acceptance import accepted, samples_along
from replicas.engine.plan import BlockCopy, BlockId, HostSlot, Row, StepOutcome, StepPlan

SLOT = struct.Struct("<Q")
_MASK = (1 << 64) - 1


class ExactExecutor(CostExecutor):
    """A simulated GPU with a memory of its own, filled with what a careless owner left there."""

    def __init__(
        self, clock: Clock, cost_model: CostModel, *, blocks_total: int, block_size: int
    ) -> None:
        super().__init__(clock, cost_model)
        self.block_bytes = block_size * SLOT.size
        self._block_size = block_size
        self._memory = bytearray(b"\xa5" * (blocks_total * self.block_bytes))
        self._host: dict[HostSlot, bytes] = {}  # what was saved

    def compute(self, plan: StepPlan) -> StepOutcome:
        for save in plan.saves:
            self._host[save.slot] = self._read(save.block)
        for copy in plan.copies:
            self._copy(copy)
        for load in plan.loads:
            self._write(load.block, self._host[load.slot])
        return StepOutcome(tuple(self._compute(row) for row in plan.rows))

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        return tuple(map(self._read, blocks))

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        if any(len(payload) != self.block_bytes for payload in payloads):
            raise ValueError(f"A block has {self.block_bytes} bytes.")
        for block, payload in zip(blocks, payloads, strict=True):
            self._write(block, payload)

    def _compute(self, row: Row) -> tuple[SampledToken, ...]:
        table = row.block_table
        before = self._slot(table, row.start - 1) if row.start else 0
        for position, token in enumerate(row.tokens, start=row.start):
            before = slot_of(before, token, position)
            SLOT.pack_into(self._memory, self._address(table, position), before)
        if not row.samples:
            return ()
        if row.guesses:
            return accepted(row, self._chosen_along(row))
        seen = self._digest(table, row.start + len(row.tokens))
        return tuple(sampled(chosen(seen, sample.seed)) for sample in row.samples)

    def _chosen_along(self, row: Row) -> Iterator[SampledToken]:
        """Behind the token before its guesses, and behind each of them."""
        stop = row.start + len(row.tokens)
        for length, (sample,) in enumerate(samples_along(row), stop - row.guesses):
            yield sampled(chosen(self._digest(row.block_table, length), sample.seed))

    def _digest(self, table: Sequence[BlockId], length: int) -> int:
        """Of the first `length` slots."""
        digest = 0
        left = length * SLOT.size
        for at in self._starts(table):
            if left <= 0:
                break
            digest = crc32(self._memory[at : at + min(left, self.block_bytes)], digest)
            left -= self.block_bytes
        return digest

    def _slot(self, table: Sequence[BlockId], position: int) -> int:
        (value,) = SLOT.unpack_from(self._memory, self._address(table, position))
        return int(value)

    def _address(self, table: Sequence[BlockId], position: int) -> int:
        block, slot = divmod(position, self._block_size)
        return table[block] * self.block_bytes + slot * SLOT.size

    def _starts(self, blocks: Iterable[BlockId]) -> Iterable[int]:
        return (block * self.block_bytes for block in blocks)

    def _read(self, block: BlockId) -> bytes:
        at = block * self.block_bytes
        return bytes(self._memory[at : at + self.block_bytes])

    def _write(self, block: BlockId, payload: bytes) -> None:
        at = block * self.block_bytes
        self._memory[at : at + self.block_bytes] = payload

    def _copy(self, copy: BlockCopy) -> None:
        source, target = (block * self.block_bytes for block in (copy.source, copy.target))
        count = copy.slots * SLOT.size
        self._memory[target : target + count] = self._memory[source : source + count]


def slot_of(before: int, token: int, position: int) -> int:
    """What the slot of `token` holds after a slot that holds `before`."""
    mixed = (before * 6_364_136_223_846_793_005 + token * 40_503 + position + 1) & _MASK
    return mixed ^ mixed >> 29


def chosen(seen: int, seed: int) -> int:
    """The next token after KV of this digest."""
    mixed = (seen ^ seed * 2_654_435_761) * 2_246_822_519 & 0xFFFFFFFF
    return (mixed ^ mixed >> 15) % VOCAB_SIZE


def completion(request: Request, *, choice: int, count: int) -> tuple[int, ...]:
    """The first `count` tokens that a choice of the request must get."""
    digest = before = 0
    position = 0
    tokens: list[int] = []
    pending = list(request.prompt)
    while len(tokens) < count:
        for token in pending:
            before = slot_of(before, token, position)
            digest = crc32(SLOT.pack(before), digest)
            position += 1
        pending = [chosen(digest, request.sampling.seed + choice)]
        tokens.extend(pending)
    return tuple(tokens)
