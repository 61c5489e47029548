"""How much is copied of a sequence while it stands still: a tail, however long it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from protos.moves import MoveId, MoveOrder, MoveOutcome
from replicas.engine.executor import Executor
from replicas.engine.export import Export, ExportState
from replicas.engine.plan import BlockId, StepOutcome, StepPlan
from replicas.shell.moves.budget import ByteBudget
from replicas.shell.moves.departure import Departure
from tests.unit.moves.pair import LIMITS, End, ends
from tests.unit.shell.counting import CARD, request
from tests.unit.shell.desk import unread
from tests.unit.shell.eventually import eventually


class Watched:
    """An executor; how many blocks were read while the sequence ran, and while it stood still."""

    def __init__(self, executor: Executor, export: Export) -> None:
        self._executor = executor
        self._export = export
        self.computed = 0  # tokens, when it was frozen
        self.blocks_live = 0
        self.blocks_frozen = 0

    async def execute(self, plan: StepPlan) -> StepOutcome:
        return await self._executor.execute(plan)

    async def read_blocks(self, blocks: Sequence[BlockId]) -> tuple[bytes, ...]:
        if self._export.state is ExportState.FROZEN:
            self.blocks_frozen += len(blocks)
            self.computed = self._export.computed
        else:
            self.blocks_live += len(blocks)
        return await self._executor.read_blocks(blocks)

    async def write_blocks(self, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        await self._executor.write_blocks(blocks, payloads)


@pytest.mark.parametrize("context_blocks", [16, 64, 256])
async def test_what_is_copied_of_a_frozen_sequence_does_not_grow_with_its_length(
    context_blocks: int,
) -> None:
    async with ends("a", "b") as [a, b]:
        a.executor.step_s = 0.001  # else it makes whole blocks while messages pass
        reader = asyncio.create_task(read(a))
        a.submit(request("r", prompt_tokens=context_blocks * CARD.block_size, tokens_max=2000))
        sequence_id = await a.sequence()
        await eventually(lambda: len(a.links.said(sequence_id)) > 0, "it decodes")
        named = a.links.of(sequence_id)
        assert named is not None
        export = a.engine.export(*named)
        assert export is not None
        watched, computed = Watched(a.executor, export), export.computed
        order = MoveOrder(MoveId("m"), sequence_id, b.peer, 20_000)
        budget = ByteBudget(LIMITS.bytes_per_s)
        home = replace(a.home, executor=watched)
        departure = Departure(home, export, order, b.peer, budget, LIMITS)
        channel = a.town.migrate(b.peer)
        await departure.run(channel)
        await channel.close()
        reader.cancel()
        report = departure.report()
        assert report.outcome is MoveOutcome.MOVED, report
        assert report.blocks_sent == watched.blocks_live + watched.blocks_frozen
        assert watched.blocks_live >= context_blocks - LIMITS.tail_blocks
        assert 1 <= watched.blocks_frozen <= LIMITS.tail_blocks + 1  # one of them in part
        assert watched.computed - computed >= context_blocks // 2, "it stood still while copied"


async def read(end: End) -> None:
    """What its gateway is sent, so that the link does not fill."""
    while True:
        for _ in unread(end.link):
            pass
        await asyncio.sleep(0)
