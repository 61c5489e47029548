"""What a registry holds on behalf of each slot, read from outside and at leisure.

For whoever checks that nothing outlives its epoch: operators after an
incident, and the verdict after a chaos run. It reads every block entry there
is and takes no part in serving; while replicas publish, what it sees may be
torn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from orchestrator.registry import records
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys, Lease
from orchestrator.registry.redis_server import RedisServer
from protos.messages import ReplicaId

KEYS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SlotHoldings:
    """One slot: who has it by lease, and what is kept in its name."""

    slot: int
    lease: Lease | None  # None: nobody, or not any more
    record_epoch: int | None  # of the replica that is described there
    listed: frozenset[bytes]  # hashes in its `held` set
    marked: frozenset[bytes]  # hashes whose bitmap has its bit

    @property
    def replica_id(self) -> ReplicaId | None:
        return None if self.lease is None else self.lease.replica_id


async def holdings(url: str, config: RegistryConfig) -> tuple[SlotHoldings, ...]:
    """Every slot that was ever used, in order. Raises RegistryUnavailable."""
    server, keys = RedisServer.at(url, config), Keys(config.prefix)
    try:
        bitmaps = {name: bits async for name, bits in _bitmaps(server, keys)}
        texts = await server.ask("HGETALL", keys.records)
        epochs = {int(slot): records.decode(text)[1] for slot, text in texts.items()}
        slots = int(await server.ask("GET", keys.slots) or 0)
        found = []
        for slot in range(max(slots, *(bits.bit_length() for bits in bitmaps.values()), 0)):
            lease = await server.ask("GET", keys.lease(slot))
            found.append(
                SlotHoldings(
                    slot,
                    Lease.decode(lease) if lease else None,
                    epochs.get(slot),
                    frozenset(await server.ask("SMEMBERS", keys.held(slot))),
                    frozenset(name for name, bits in bitmaps.items() if bits >> slot & 1),
                )
            )
        return tuple(found)
    finally:
        await server.close()


async def _bitmaps(server: RedisServer, keys: Keys) -> AsyncIterator[tuple[bytes, int]]:
    """Every block's hash, and the slots that are said to have it."""
    cursor: bytes | int = b"0"
    is_first = True
    while is_first or int(cursor):
        is_first = False
        pattern = keys.block_root + b"*"
        cursor, names = await server.ask("SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_AT_ONCE)
        values = await server.ask("MGET", *names) if names else ()
        for name, value in zip(names, values, strict=True):
            yield name.removeprefix(keys.block_root), int.from_bytes(value or b"", "little")
