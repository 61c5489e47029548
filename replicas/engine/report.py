"""One sequence of an engine, as others see it: what it holds, and what it may still need."""

from __future__ import annotations

from protos.messages import SequenceId, SequenceReport
from replicas.engine.block_pool import BlockPool
from replicas.engine.sequence import Sequence


def report_of(sequence: Sequence, pool: BlockPool) -> SequenceReport:
    """Its report, under the request id that the engine knows."""
    request = sequence.request
    # What a held one keeps is not its own yet.
    table = sequence.block_table if sequence.is_running else []
    return SequenceReport(
        sequence_id=SequenceId(sequence.label),
        request_id=request.request_id,
        choice=sequence.choice,
        request_class=request.request_class,
        tenant=request.tenant,
        tokens=sequence.length,
        blocks=len(table),
        blocks_own=pool.blocks_own(table),
        tokens_left_max=sequence.tokens_left,
        is_waiting=not sequence.is_running,
        is_movable=not sequence.unforked and sequence.mover is None,
    )
