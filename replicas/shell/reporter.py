"""Snapshots of the engine, numbered within the replica's epoch.

The registry gives the epoch; before the first one, or without a registry, it
is 0. All readers share one numbering, so of two snapshots of one replica the
newer is the one with the greater (epoch, number), whichever way they came.
"""

from __future__ import annotations

from dataclasses import replace

from protos.messages import NO_COPIES, CopyTotals, ReplicaId, Snapshot
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
        self._copy_start_ns = self._copy_block_ns = 0
        self._copies = NO_COPIES

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

    def tell_copies(self, start_ns: int, block_ns: int, totals: CopyTotals) -> None:
        """What a copy to here costs from now on, and what became of those so far."""
        self._copy_start_ns, self._copy_block_ns = start_ns, block_ns
        self._copies = totals

    def tell_wait(self, waited_ns: int) -> None:
        """A choice is in its first step, for which it waited so long."""
        self._pace.add_wait(waited_ns)

    def snapshot(self) -> Snapshot:
        since_ns = self._owing_since_ns
        reported = self._engine.snapshot(
            replica_id=self._replica_id,
            epoch=self._epoch,
            number=self._number,
            times=self._pace.times,
            registry_behind_ns=0 if since_ns is None else now_ns() - since_ns,
            copy_start_ns=self._copy_start_ns,
            copy_block_ns=self._copy_block_ns,
            copies=self._copies,
        )
        self._number += 1
        return replace(reported, totals=self._pace.totals)
