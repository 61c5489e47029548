"""A small honest executor: the next token is its own position.

The token depends on nothing but the plan, so a wrong row, a lost step or a
token in the wrong stream shows as a wrong number. Its KV is the tokens
themselves, and it asserts that a row finds all of them in its blocks.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from itertools import count

from protos.messages import (
    ModelCard,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SamplingParams,
)
from replicas.config import ReplicaConfig
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.plan import BlockId, Row, Sample, StepOutcome, StepPlan

VOCAB_SIZE = 5000
CARD = ModelCard(
    name="counting",
    revision="1",
    dtype="none",
    block_size=4,
    context_tokens_max=4096,
    vocab_size=VOCAB_SIZE,
)
BLOCK = struct.Struct(f"<{CARD.block_size}I")  # its tokens
CONFIG = ReplicaConfig(replica_id=ReplicaId("r-0"), report_interval_ms=20, check_interval_ms=0)


def engine(*, blocks_total: int = 64, waiting_max: int = 16) -> Engine:
    return Engine(EngineConfig(card=CARD, blocks_total=blocks_total, waiting_max=waiting_max))


def counted(plan: StepPlan) -> StepOutcome:
    """The outcome of counting."""
    return StepOutcome(
        sampled=tuple(tuple(_token(sample) for sample in row.samples) for row in plan.rows)
    )


def _token(sample: Sample) -> SampledToken:
    position = len(sample.prompt) + len(sample.output)
    top = tuple((token, -float(token)) for token in range(sample.params.logprobs or 0))
    logprob = None if sample.params.logprobs is None else -1.0
    return SampledToken(position % VOCAB_SIZE, logprob, top)


class CountingExecutor:
    """Counts, but only while it is not held."""

    def __init__(self) -> None:
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._slots: dict[tuple[BlockId, int], int] = {}
        self.failure: Exception | None = None
        self.step_s = 0.0

    def hold(self) -> None:
        self._may_run.clear()

    def release(self) -> None:
        self._may_run.set()

    async def execute(self, plan: StepPlan) -> StepOutcome:
        await asyncio.sleep(self.step_s)  # a step takes time, so others get their turn
        await self._may_run.wait()
        if self.failure is not None:
            raise self.failure
        for copy in plan.copies:
            for slot in range(copy.slots):
                self._slots[copy.target, slot] = self._slots[copy.source, slot]
        for row in plan.rows:
            for position, token in enumerate(row.tokens, row.start):
                self._slots[_place(row, position)] = token
        for row in plan.rows:
            for sample in row.samples[:1]:
                for position, token in enumerate((*sample.prompt, *sample.output)):
                    assert self._slots[_place(row, position)] == token, "foreign KV"
        return counted(plan)

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        await asyncio.sleep(0)
        none = VOCAB_SIZE  # no token, in a slot that was never written
        return tuple(
            BLOCK.pack(*(self._slots.get((block, slot), none) for slot in range(CARD.block_size)))
            for block in blocks
        )

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        await asyncio.sleep(0)
        for block, payload in zip(blocks, payloads, strict=True):
            if len(payload) != BLOCK.size:
                raise ValueError(f"a block has {BLOCK.size} bytes, not {len(payload)}")
            for slot, token in enumerate(BLOCK.unpack(payload)):
                self._slots[block, slot] = token


def _place(row: Row, position: int) -> tuple[BlockId, int]:
    return row.block_table[position // CARD.block_size], position % CARD.block_size


_prompts = count(1)


def request(
    name: str, *, prompt_tokens: int = 6, tokens_max: int = 5, choices: int = 1, logprobs: int = 0
) -> Request:
    """A request that shares no block with any other one."""
    first = next(_prompts) % VOCAB_SIZE
    return Request(
        request_id=RequestId(name),
        prompt=(first, *range(1, prompt_tokens)),
        sampling=SamplingParams(tokens_max=tokens_max, logprobs=logprobs or None),
        choices=choices,
    )


def answer(asked: Request) -> list[int]:
    """The tokens that every choice of the request must get."""
    start = len(asked.prompt)
    return [position % VOCAB_SIZE for position in range(start, start + asked.sampling.tokens_max)]
