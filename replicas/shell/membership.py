"""Keeps this replica in the prefix registry: lease, block events, departure.

One task writes to the registry, one call at a time: join, then renewals and
batches of block events in turn. Whatever happens to the registry, serving goes
on: while it cannot be reached the task waits, longer each time, and tries
again for ever. When the registry answers that it does not know this epoch any
more, the replica joins again under a new one and tells its whole inventory;
when it only reports a gap in the batches, the inventory alone is enough. With
each renewal goes a batch, if only an empty one, so that a gap is noticed where
nothing else happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from protos.messages import BlockEvent
from protos.registry import Membership, RegistryUnavailable, RegistryWriter, ReplicaRecord
from replicas.config import ReplicaConfig
from replicas.shell.backoff import Backoff
from replicas.shell.block_feed import BlockFeed
from replicas.shell.clock import now_ns
from replicas.shell.reporter import Reporter
from replicas.shell.waiting import set_within

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# A lease survives two lost renewals.
RENEWALS_A_LEASE = 3


class MembershipKeeper:
    """The replica's half of the registry, kept up as long as `run` runs."""

    def __init__(
        self,
        registry: RegistryWriter,
        feed: BlockFeed,
        reporter: Reporter,
        config: ReplicaConfig,
    ) -> None:
        self._registry = registry
        self._feed = feed
        self._reporter = reporter
        self._renew_s = config.lease_ms / 1000 / RENEWALS_A_LEASE
        self._publish_s = config.publish_interval_ms / 1000
        self._backoff = Backoff(config.retry_ms_max)
        self._membership: Membership | None = None
        self._is_draining = False
        self._renew_now = False
        self._changed = asyncio.Event()

    def announce(self, events: Iterable[BlockEvent]) -> None:
        """Tell the registry soon. Costs nothing while there is no membership."""
        self._feed.add(events, now_ns())
        self._reporter.owe(self._feed.owed_since_ns)
        if not self._feed.is_empty:
            self._changed.set()

    def tell_draining(self, is_draining: bool) -> None:
        """Tell the registry now, and with every renewal, whether this replica takes new work."""
        self._is_draining = is_draining
        self._renew_now = True
        self._changed.set()

    async def run(self, record: ReplicaRecord) -> None:
        """Until it is cancelled; the registry's absence is waited out."""
        task = asyncio.current_task()
        assert task is not None, "keeps the membership in a task"
        # The client of a server that times out may take a cancellation for that timeout.
        while not task.cancelling():
            try:
                await self._hold(self._membership or await self._join(record))
                self._membership = None
                logger.warning("the registry forgot this replica; joining again")
            except RegistryUnavailable as error:
                logger.warning("registry unavailable, serving goes on without it: %s", error)
            await self._backoff.wait()

    async def leave(self) -> None:
        """Give the place back, if there is one. Not while `run` runs."""
        membership, self._membership = self._membership, None
        if membership is None:
            return
        try:
            await self._in_time(self._registry.leave(membership))
        except RegistryUnavailable as error:
            logger.warning("left without telling the registry, the lease will end: %s", error)

    async def _join(self, record: ReplicaRecord) -> Membership:
        membership = await self._in_time(self._registry.join(record))
        logger.info("joined the registry: slot %d epoch %d", membership.slot, membership.epoch)
        self._reporter.begin_epoch(membership.epoch)
        self._feed.begin_epoch(now_ns())
        self._membership = membership
        return membership

    async def _hold(self, membership: Membership) -> None:
        """Renew and publish until the registry no longer knows this epoch."""
        loop = asyncio.get_running_loop()
        renew_at = loop.time()
        while True:
            if self._renew_now or loop.time() >= renew_at:
                self._renew_now = False
                renew_at = loop.time() + self._renew_s
                if not await self._renew(membership):
                    return
                self._feed.probe()
            if not await self._publish(membership):
                return
            await self._pause(until=renew_at)

    async def _renew(self, membership: Membership) -> bool:
        is_known = await self._in_time(self._registry.renew(membership, draining=self._is_draining))
        self._backoff.reset()
        return is_known

    async def _publish(self, membership: Membership) -> bool:
        """Send one batch if there is one. False: not even an inventory is accepted."""
        batch = self._feed.offer()
        if batch is None:
            return True
        is_applied = await self._in_time(self._registry.publish(membership, batch))
        self._feed.settle()
        if not is_applied:
            self._feed.restart(now_ns())
        self._reporter.owe(self._feed.owed_since_ns)
        return is_applied or not batch.complete

    async def _pause(self, *, until: float) -> None:
        """Wait for news, then a moment for more of it to share a batch."""
        if self._feed.is_full:
            return
        if self._feed.is_empty and not self._renew_now:
            self._changed.clear()
            await set_within(self._changed, until - asyncio.get_running_loop().time())
        if self._feed.is_empty or self._renew_now:
            return
        await asyncio.sleep(self._publish_s)

    async def _in_time(self, call: Awaitable[Answer]) -> Answer:
        """A registry that hangs is as good as gone: the lease must not wait for it."""
        try:
            async with asyncio.timeout(self._renew_s):
                return await call
        except TimeoutError:
            raise RegistryUnavailable(f"no answer within {self._renew_s:g} s") from None
