"""Short ways to write down what a replica says about itself."""

from __future__ import annotations

from dataclasses import replace

from protos.messages import ModelCard, ReplicaId, Snapshot
from protos.registry import Member, ReplicaRecord

CARD = ModelCard(
    name="toy",
    revision="r1",
    dtype="float32",
    block_size=16,
    context_tokens_max=4096,
    vocab_size=99,
)
A, B = ReplicaId("a"), ReplicaId("b")
MS = 1_000_000
SECOND = 1_000 * MS


def record(replica_id: ReplicaId = A, address: str = "127.0.0.1:1") -> ReplicaRecord:
    return ReplicaRecord(replica_id, address, CARD, blocks_total=100)


def member(replica_id: ReplicaId = A, epoch: int = 1, *, draining: bool = False) -> Member:
    return Member(record(replica_id), epoch, draining)


def report(
    replica_id: ReplicaId = A, *, epoch: int = 1, number: int = 0, used: int = 0
) -> Snapshot:
    """An idle replica's, but for `used` blocks."""
    return Snapshot(
        replica_id=replica_id,
        epoch=epoch,
        number=number,
        blocks_total=100,
        blocks_free=100 - used,
        blocks_cached=0,
        blocks_used=used,
        sequences_running=0,
        sequences_waiting=0,
        prefill_tokens_waiting=0,
        blocks_waiting=0,
        draining=False,
        step_ns=10 * MS,
    )


def draining_report(number: int, *, running: int = 0, epoch: int = 1) -> Snapshot:
    return replace(report(epoch=epoch, number=number), draining=True, sequences_running=running)


def busy_report(
    number: int, *, replica_id: ReplicaId = A, full_ns: int, prefill_tokens: int
) -> Snapshot:
    """Full steps have taken so long so far, and computed so many prompt tokens."""
    return replace(
        report(replica_id, number=number), full_ns=full_ns, full_prefill_tokens=prefill_tokens
    )
