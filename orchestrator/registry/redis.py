"""The prefix registry on Redis or Valkey, shared by all processes of a cluster.

One bitmap of replica slots per block hash (keys.py), written by scripts that
fence every write by slot and epoch (scripts.py), read by one MGET, or by two
that probe a long chain (lookup.py). The first MGET of a lookup also carries the leases: a
replica whose lease has ended is masked out of the same answer, so death needs
no scan and no cached belief. Block entries have no expiry of their own, since
a hot block is written once and then only read; a dead slot's entries are
swept when the slot is next taken, from the slot's own list of them.

Nothing is remembered that a server restarted empty would break: scripts are
taught again, leases answer False, and the wall clock keeps epochs growing.
Who leads the control plane is kept on the same server (redis_directory.py).

The server's user needs `~<prefix>* +@read +@write +@connection +@scripting
-@dangerous`; a gateway, which only reads and announces (redis_announcer.py),
`%R~<prefix>* &<prefix>* +@connection +mget +hgetall +get +publish +subscribe
+unsubscribe`. The server must not evict keys (`maxmemory-policy noeviction`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.registry import records
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys, Lease, LeaseState, bit_offset, holder, lease_value
from orchestrator.registry.lookup import boundary_indices, leading_blocks, probe_indices
from orchestrator.registry.redis_directory import RedisDirectory
from orchestrator.registry.redis_server import RedisServer
from orchestrator.registry.scripts import CLAIM, ENTER, LEAVE, PUBLISH, RENEW, SWEEP
from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import (
    BlockBatch,
    Leader,
    Member,
    Membership,
    RegistryUnavailable,
    ReplicaRecord,
)

# 512: about a millisecond of the server's only thread, which lookups wait for meanwhile.
PIECE_BLOCKS = 512


class RedisRegistry:
    """PrefixRegistry on a Redis-protocol server."""

    def __init__(self, server: RedisServer, config: RegistryConfig) -> None:
        self._server = server
        self._config = config
        self._keys = Keys(config.prefix)
        self._directory = RedisDirectory(server, self._keys, config)
        self._slots_known = 0
        self._leases: dict[int, tuple[bytes, Lease]] = {}  # as they were read last, by slot
        self._epoch_last = 0

    @classmethod
    def connect(cls, url: str, config: RegistryConfig) -> RedisRegistry:
        """A registry at `redis://`, `rediss://` or `unix://`; ValueError if `url` is none.

        Does no I/O: a server that is away shows at the first call.
        """
        return cls(RedisServer.at(url, config), config)

    async def close(self) -> None:
        """Closes the connections. Leases of this process simply run out."""
        await self._server.close()

    async def join(self, record: ReplicaRecord) -> Membership:
        membership = await self._claim(record.replica_id)
        await self._sweep(membership)
        await self._server.run(
            ENTER,
            keys=[
                self._keys.holders,
                self._keys.lease(membership.slot),
                self._keys.held(membership.slot),
                self._keys.records,
                self._keys.numbers,
            ],
            args=[
                membership.slot,
                holder(membership),
                records.encode(record, membership.epoch),
                self._config.lease_ms,
            ],
        )
        return membership

    async def renew(self, membership: Membership, *, draining: bool) -> bool:
        state = LeaseState.DRAINING if draining else LeaseState.READY
        renewed = await self._server.run(
            RENEW,
            keys=[self._keys.holders, self._keys.lease(membership.slot)],
            args=[
                membership.slot,
                holder(membership),
                lease_value(state, membership),
                self._config.lease_ms,
            ],
        )
        return bool(renewed)

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool:
        """One call at a time per membership. A long batch becomes visible piece by piece."""
        removed: Sequence[BlockHash] = batch.removed
        if batch.complete:
            removed = await self._held_but_not_in(membership.slot, batch.stored)
        answer = b"refused"
        for piece in _pieces(removed, batch.stored):
            answer = await self._publish_piece(membership, batch, *piece)
            if answer != b"applied":
                break
        return answer != b"refused"

    async def leave(self, membership: Membership) -> None:
        left = await self._server.run(
            LEAVE,
            keys=[
                self._keys.holders,
                self._keys.lease(membership.slot),
                self._keys.records,
                self._keys.numbers,
            ],
            args=[membership.slot, holder(membership)],
        )
        if left:
            await self._sweep(membership)

    async def members(self) -> tuple[Member, ...]:
        leases, _ = await self._read([])
        texts = await self._server.ask("HGETALL", self._keys.records) if leases else {}
        found = []
        for slot, text in texts.items():
            lease = leases.get(int(slot))
            record, epoch = records.decode(text)
            if lease is not None and lease.epoch == epoch:
                found.append(Member(record, epoch, lease.state is LeaseState.DRAINING))
        return tuple(sorted(found, key=lambda member: member.record.replica_id))

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        if not hashes:
            return {}
        probes = probe_indices(len(hashes))
        leases, bitmaps = await self._read([self._keys.block(hashes[i]) for i in probes])
        live = sum(1 << slot for slot in leases)
        masks = dict(zip(probes, map(_mask, bitmaps), strict=True))
        between = boundary_indices(len(hashes), masks, live)
        if between:
            bitmaps = await self._server.ask(
                "MGET", *(self._keys.block(hashes[i]) for i in between)
            )
            masks.update(zip(between, map(_mask, bitmaps), strict=True))
        blocks = leading_blocks(len(hashes), masks, live)
        return {leases[slot].replica_id: count for slot, count in blocks.items()}

    async def lead(self, candidate: str, address: str) -> int | None:
        return await self._directory.lead(candidate, address)

    async def resign(self, candidate: str) -> None:
        await self._directory.resign(candidate)

    async def leader(self) -> Leader | None:
        return await self._directory.leader()

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        return await self._directory.keep_policy(term, knobs)

    async def policy(self) -> Mapping[str, str]:
        return await self._directory.policy()

    async def _claim(self, replica_id: ReplicaId) -> Membership:
        # The wall clock is above every epoch given before a restart that emptied the server.
        epoch_min = max(self._epoch_last + 1, time.time_ns() // 1_000_000)
        leases = [self._keys.lease(slot) for slot in range(self._config.slots_max)]
        claimed = await self._server.run(
            CLAIM,
            keys=[self._keys.epoch, self._keys.slots, self._keys.holders, *leases],
            args=[replica_id, epoch_min, self._config.lease_ms],
        )
        if claimed is None:
            raise RegistryUnavailable(
                f"all {self._config.slots_max} slots of the registry are taken by live replicas"
            )
        slot, self._epoch_last = claimed
        return Membership(replica_id, slot, self._epoch_last)

    async def _sweep(self, membership: Membership) -> None:
        """Clear what the slot still holds, piece by piece; ends early if another takes it."""
        held = self._keys.held(membership.slot)
        while hashes := await self._server.ask("SRANDMEMBER", held, PIECE_BLOCKS):
            swept = await self._server.run(
                SWEEP,
                keys=[
                    self._keys.holders,
                    self._keys.lease(membership.slot),
                    held,
                    *map(self._keys.block, hashes),
                ],
                args=[
                    membership.slot,
                    holder(membership),
                    self._config.lease_ms,
                    bit_offset(membership.slot),
                    len(self._keys.block_root),
                ],
            )
            if not swept:
                return

    async def _held_but_not_in(
        self, slot: int, stored: Sequence[BlockHash]
    ) -> tuple[BlockHash, ...]:
        kept = set(stored)
        held = await self._server.ask("SMEMBERS", self._keys.held(slot))
        return tuple(block_hash for block_hash in held if block_hash not in kept)

    async def _publish_piece(
        self,
        membership: Membership,
        batch: BlockBatch,
        removed: Sequence[BlockHash],
        stored: Sequence[BlockHash],
        last: bool,
    ) -> bytes:
        answer: bytes = await self._server.run(
            PUBLISH,
            keys=[
                self._keys.holders,
                self._keys.lease(membership.slot),
                self._keys.held(membership.slot),
                self._keys.numbers,
                *map(self._keys.block, removed),
                *map(self._keys.block, stored),
            ],
            args=[
                membership.slot,
                holder(membership),
                bit_offset(membership.slot),
                len(self._keys.block_root),
                batch.number,
                len(removed),
                int(batch.complete),
                int(last),
            ],
        )
        return answer

    async def _read(self, keys: Sequence[bytes]) -> tuple[dict[int, Lease], list[bytes | None]]:
        """Live leases by slot, and the values of `keys`, in one atomic MGET.

        Asks again when slots were added since this process last looked.
        """
        while True:
            asked = self._slots_known
            leases = [self._keys.lease(slot) for slot in range(asked)]
            values = await self._server.ask("MGET", self._keys.slots, *leases, *keys)
            self._slots_known = int(values[0] or 0)
            if self._slots_known <= asked:
                break
        found = (
            (slot, self._lease(slot, value))
            for slot, value in enumerate(values[1 : asked + 1])
            if value
        )
        opened = {slot: lease for slot, lease in found if lease.state is not LeaseState.JOINING}
        return opened, values[asked + 1 :]

    def _lease(self, slot: int, value: bytes) -> Lease:
        """Read from its text once for each that a slot has had: every lookup asks for all."""
        last = self._leases.get(slot)
        if last is None or last[0] != value:
            last = self._leases[slot] = value, Lease.decode(value)
        return last[1]


def _pieces(
    removed: Sequence[BlockHash], stored: Sequence[BlockHash]
) -> Iterator[tuple[Sequence[BlockHash], Sequence[BlockHash], bool]]:
    """Cuts a batch into (removed, stored, last) of bounded size, in order; one if it is empty."""
    blocks = len(removed) + len(stored)
    for start in range(0, max(blocks, 1), PIECE_BLOCKS):
        end = start + PIECE_BLOCKS
        yield (
            removed[start:end],
            stored[max(0, start - len(removed)) : max(0, end - len(removed))],
            end >= blocks,
        )


def _mask(bitmap: bytes | None) -> int:
    return 0 if bitmap is None else int.from_bytes(bitmap, "little")
