"""A replica's record survives the trip through JSON."""

from __future__ import annotations

from orchestrator.registry import records
from protos.messages import ModelCard, ReplicaId
from protos.registry import ReplicaRecord


def test_a_record_reads_back_as_it_was_written() -> None:
    card = ModelCard("ns/modèle", "abc123", "bfloat16", 16, 131_072, 128_256)
    record = ReplicaRecord(ReplicaId('"a"'), "[::1]:9000", card, blocks_total=30_000)
    assert records.decode(records.encode(record, 7).encode()) == (record, 7)
