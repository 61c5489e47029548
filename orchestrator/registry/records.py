"""A replica's record as JSON, the form in which the server keeps it.

The epoch is written beside it: a reader that meets a record and a lease of
two different epochs has looked while the slot changed hands and skips it.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from protos.messages import ModelCard, ReplicaId
from protos.registry import ReplicaRecord


def encode(record: ReplicaRecord, epoch: int) -> str:
    """The record and its epoch in one line of JSON."""
    return json.dumps({"epoch": epoch, **asdict(record)}, separators=(",", ":"))


def decode(text: bytes) -> tuple[ReplicaRecord, int]:
    """What `encode` was given."""
    fields = json.loads(text)
    record = ReplicaRecord(
        replica_id=ReplicaId(fields["replica_id"]),
        address=fields["address"],
        card=ModelCard(**fields["card"]),
        blocks_total=fields["blocks_total"],
    )
    return record, fields["epoch"]
