"""One sequence of an engine, as others see it: what it holds, and what it may still need."""

from __future__ import annotations

from protos.messages import SequenceId, SequenceReport
from replicas.engine.block_pool import BlockPool
from replicas.engine.sequence import Sequence


def report_of(sequence: Sequence, pool: BlockPool) -> SequenceReport:
    """Its report, under the request id that the engine knows."""
    request = sequence.request
    return SequenceReport(
        sequence_id=SequenceId(sequence.label),
        request_id=request.request_id,
        choice=sequence.choice,
        request_class=request.request_class,
        tenant=request.tenant,
        tokens=sequence.length,
        blocks=len(sequence.block_table),
        blocks_own=sum(pool.references(block) == 1 for block in sequence.block_table),
        tokens_left_max=sequence.output_max - len(sequence.output),
        is_waiting=not sequence.is_running,
        is_movable=not sequence.unforked and sequence.mover is None,
    )
