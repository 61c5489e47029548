"""Snapshots of the engine, numbered within the replica's epoch.

The registry gives the epoch; before the first one, or without a registry, it
is 0. All readers share one numbering, so of two snapshots of one replica the
newer is the one with the greater (epoch, number), whichever way they came.
"""

from __future__ import annotations

from protos.messages import ReplicaId, Snapshot
from replicas.engine.engine import Engine
from replicas.shell.clock import now_ns
from replicas.shell.pace import Pace


class Reporter:
    """Takes snapshots. Owns the current epoch and the next number."""

    def __init__(self, engine: Engine, replica_id: ReplicaId, pace: Pace) -> None:
        self._engine = engine
        self._replica_id = replica_id
        self._pace = pace
        self._epoch = 0
        self._number = 0
        self._owing_since_ns: int | None = None

    @property
    def epoch(self) -> int:
        return self._epoch

    def begin_epoch(self, epoch: int) -> None:
        """Number from 0 again, under the epoch that the registry gave."""
        assert epoch > self._epoch, "epochs only grow"
        self._epoch = epoch
        self._number = 0

    def owe(self, since_ns: int | None) -> None:
        """What the registry has yet to be told began to be so then; None: it knows all."""
        self._owing_since_ns = since_ns

    def snapshot(self) -> Snapshot:
        since_ns = self._owing_since_ns
        snapshot = self._engine.snapshot(
            replica_id=self._replica_id,
            epoch=self._epoch,
            number=self._number,
            times=self._pace.times,
            registry_behind_ns=0 if since_ns is None else now_ns() - since_ns,
        )
        self._number += 1
        return snapshot
