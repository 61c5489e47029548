"""The keys of a gateway in the live world: a file, a Redis to count in, a task that follows.

Without a file everybody comes in. That is right for a laptop; where others
can reach the doors, it is said once at the start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from ipaddress import ip_address

from orchestrator.config import Deployment
from orchestrator.control.seams import Clock
from orchestrator.gateway.key_metrics import KeyCollector
from orchestrator.gateway.keyring import Keys
from orchestrator.gateway.keys_file import KeysFile
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.registry_url import registry_url
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.shared_counters import SharedCounters

log = logging.getLogger(__name__)


class Doorkeeper:
    """`start` once, then `stop` once."""

    def __init__(self, deployment: Deployment, clock: Clock, metrics: GatewayMetrics) -> None:
        """Raises BadKeysFile; ValueError where there is no URL to count at."""
        self._shared: SharedCounters | None = None
        self._file: KeysFile | None = None
        self._following: asyncio.Task[None] | None = None
        if deployment.keys_file is None:
            if not is_loopback(deployment.host):
                log.warning("no keys file: whoever reaches %s may ask anything", deployment.host)
            self.keys = Keys(RateLimits(RateCounts(clock)))
            return
        self._shared = SharedCounters(registry_url(deployment, os.environ), RegistryConfig().prefix)
        self.keys = Keys(RateLimits(RateCounts(clock, self._shared)))
        self._file = file = KeysFile(deployment.keys_file, self.keys)
        metrics.registry.register(KeyCollector(self.keys, lambda: file.is_valid))

    async def start(self) -> None:
        """From now on the file's changes are noticed."""
        if self._file is not None:
            self._following = asyncio.create_task(self._file.follow())

    async def stop(self) -> None:
        """After the doors: what was used is counted to the end."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await self.keys.limits.settle()
        if self._shared is not None:
            await self._shared.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
