"""What a placement promises, told to all who count on it: this gateway, and every other one.

A promise is a debit with the replica (orchestrator.control.cluster), blocks
that will be there (intended.py), and an announcement. What other gateways
announce is taken in here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.control.cluster import Cluster, Debit
from orchestrator.control.seams import Clock
from orchestrator.gateway.intended import IntendedBlocks
from orchestrator.policy.route import Placement
from protos.hashing import BlockHash
from protos.registry import Announcement, Announcer

NS_PER_MS = 1_000_000
# A prompt that has not been computed in twice the time that it was expected to take, and a second,
# has met something that nobody foresaw: what it promised is no use to others any more.
SETTLE_FACTOR = 2.0
SETTLE_MS_MIN = 1_000
SETTLE_MS_MAX = 60_000


class Alone:
    """Announcer of a gateway beside which there is no other."""

    def announce(self, announcement: Announcement) -> None:
        pass

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        pass

    async def close(self) -> None:
        pass


class Promises:
    """Of one gateway. Listens to the others from the beginning."""

    def __init__(
        self, cluster: Cluster, intended: IntendedBlocks, announcer: Announcer, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._intended = intended
        self._announcer = announcer
        self._clock = clock
        announcer.listen(self._hear)

    def make(self, placement: Placement, hashes: Sequence[BlockHash], *, held: int) -> Debit:
        """The request whose prompt has these blocks goes there. Release the debit in any case.

        The first `held` of them are known to be there, or promised already.
        """
        now_ns = self._clock.now_ns()
        announcement = Announcement(
            replica_id=placement.replica_id,
            epoch=placement.epoch,
            prefill_tokens=placement.prefill_tokens,
            blocks=placement.blocks,
            sequences=placement.sequences,
            is_interactive=placement.is_interactive,
            settle_ms=settle_ms(placement),
            hashes=tuple(hashes),
            held=held,
        )
        self._intended.expect(
            placement.replica_id,
            placement.epoch,
            hashes,
            held=held,
            until_ns=now_ns + announcement.settle_ms * NS_PER_MS,
        )
        self._announcer.announce(announcement)
        return self._cluster.charge(placement, now_ns)

    def _hear(self, announcement: Announcement) -> None:
        now_ns = self._clock.now_ns()
        if announcement.settle_ms > SETTLE_MS_MAX:  # whatever another version takes for the most
            announcement = replace(announcement, settle_ms=SETTLE_MS_MAX)
        if self._cluster.hear(announcement, now_ns):
            self._intended.expect(
                announcement.replica_id,
                announcement.epoch,
                announcement.hashes,
                held=announcement.held,
                until_ns=now_ns + announcement.settle_ms * NS_PER_MS,
            )


def settle_ms(placement: Placement) -> int:
    """From now on: by then its prompt is computed, or will not be."""
    expected_s = placement.cost.queue_s + placement.cost.prefill_s + placement.cost.room_s
    settle = SETTLE_MS_MIN + SETTLE_FACTOR * expected_s * 1000
    return round(min(settle, SETTLE_MS_MAX))
