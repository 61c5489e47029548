"""Snapshots of the engine, numbered within the replica's epoch.

The registry gives the epoch; before the first one, or without a registry, it
is 0. All readers share one numbering, so of two snapshots of one replica the
newer is the one with the greater (epoch, number), whichever way they came.
"""

from __future__ import annotations

from protos.messages import ReplicaId, Snapshot
from replicas.engine.engine import Engine
from replicas.shell.pace import Pace


class Reporter:
    """Takes snapshots. Owns the current epoch and the next number."""

    def __init__(self, engine: Engine, replica_id: ReplicaId, pace: Pace) -> None:
        self._engine = engine
        self._replica_id = replica_id
        self._pace = pace
        self._epoch = 0
        self._number = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    def begin_epoch(self, epoch: int) -> None:
        """Number from 0 again, under the epoch that the registry gave."""
        assert epoch > self._epoch, "epochs only grow"
        self._epoch = epoch
        self._number = 0

    def snapshot(self) -> Snapshot:
        snapshot = self._engine.snapshot(
            replica_id=self._replica_id,
            epoch=self._epoch,
            number=self._number,
            times=self._pace.times,
        )
        self._number += 1
        return snapshot
