"""A sequence on its way from one member to another, one stage at a time while both go on.

Blocks that are full are copied while it decodes; then it stands still, the rest
follows, and it runs on at the target. Either end may lose it at any stage, and
whoever moves it may give up.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicas.engine.arrival import Arrival, ArrivalState
from replicas.engine.export import Export, ExportState
from tests.integration.soak.member import Member


@dataclass(slots=True)
class Journey:
    """Both handles, and how many leading blocks are in place at the target."""

    source: Member
    target: Member
    export: Export
    arrival: Arrival
    copied: int

    @property
    def is_broken(self) -> bool:
        """Whether one of the two engines has ended it."""
        is_gone = self.export.state is ExportState.GONE
        return is_gone or self.arrival.state is not ArrivalState.RESERVED

    def copy(self) -> bool:
        """Bring over what can be brought by now; False if the target has no room for it."""
        size = self.source.engine.config.card.block_size
        is_frozen = self.export.state is ExportState.FROZEN
        computed = self.export.computed
        stop = -(-computed // size) if is_frozen else computed // size
        if stop <= self.copied:
            return True
        targets = self.arrival.blocks(self.copied, stop)
        if targets is None:
            return False
        payloads = self.source.runner.read_blocks(self.export.blocks(self.copied, stop))
        self.target.runner.write_blocks(targets, payloads)
        self.copied = stop
        return True

    def arrive(self) -> bool:
        """Freeze it, bring the rest, hand it over; False if that failed."""
        self.export.freeze()
        if not self.copy():
            return False
        output = self.export.request().output
        if not self.arrival.admit(output, self.export.computed):
            return False
        self.export.complete()
        return True

    def give_up(self) -> None:
        """It stays where it is, if it is."""
        self.arrival.drop()
        self.export.abandon()
