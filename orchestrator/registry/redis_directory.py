"""Who leads the control plane, as one key with an expiry and one counter of terms.

Beside it the knobs that operators turned, written under the newest term only.

The leader's key ends by the server's own clock; a script (scripts.py) lets
only its candidate renew it and gives every new leader a term above the
counter. A server that lost its data has lost the counter, too. So a term is
also at least the candidate's wall clock in milliseconds, and above every term
that this process has seen: a standby asks to lead again and again and thereby
sees each leader's. Only a candidate that never met the last leader, on a host
whose clock is behind by more than the time since that leader began, could give
a lower term after such a loss; replicas then ignore it until the clock has
caught up. The server's own clock would be one for all, but the command TIME
is in no group of commands that our user is granted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis_server import RedisServer
from orchestrator.registry.scripts import KEEP_POLICY, LEAD, RESIGN
from protos.registry import Leader


class RedisDirectory:
    """ControlDirectory on a Redis-protocol server. `candidate` holds no white space."""

    def __init__(self, server: RedisServer, keys: Keys, config: RegistryConfig) -> None:
        self._server = server
        self._keys = keys
        self._config = config
        self._term_seen = 0

    async def lead(self, candidate: str, address: str) -> int | None:
        term_min = max(self._term_seen + 1, time.time_ns() // 1_000_000)
        leads, term = await self._server.run(
            LEAD,
            keys=[self._keys.leader, self._keys.term],
            args=[candidate, address, term_min, self._config.lease_ms],
        )
        self._see(term)
        return term if leads else None

    async def resign(self, candidate: str) -> None:
        await self._server.run(RESIGN, keys=[self._keys.leader], args=[candidate])

    async def leader(self) -> Leader | None:
        value = await self._server.ask("GET", self._keys.leader)
        if value is None:
            return None
        term, _, address = value.decode().split(" ", 2)
        self._see(int(term))
        return Leader(address, int(term))

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        is_kept = await self._server.run(
            KEEP_POLICY,
            keys=[self._keys.term, self._keys.policy],
            args=[term, *(word for knob in knobs.items() for word in knob)],
        )
        return bool(is_kept)

    async def policy(self) -> Mapping[str, str]:
        flat = await self._server.ask("HGETALL", self._keys.policy)
        return {name.decode(): value.decode() for name, value in flat.items()}

    def _see(self, term: int) -> None:
        self._term_seen = max(self._term_seen, term)
