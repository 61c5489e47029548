"""Names of the registry's keys, and the values short enough to be text.

    {prefix}{kv}:b<hash>     bitmap of the slots whose replica holds the block
    {prefix}{kv}:lease:<s>   "<state> <epoch> <replica>", gone when the lease ends
    {prefix}{kv}:held:<s>    set of the hashes whose bitmap may have bit s
    {prefix}{kv}:holders     hash: slot -> "<epoch> <replica>", who took it last
    {prefix}{kv}:numbers     hash: slot -> next batch number, " gap" after it once broken
    {prefix}{kv}:records     hash: slot -> JSON of the replica's record and epoch
    {prefix}{kv}:slots       how many slots were ever used, counted from 0
    {prefix}{kv}:epoch       the newest epoch given to anyone
    {prefix}{kv}:leader      "<term> <candidate> <address>", gone when its lease ends
    {prefix}{kv}:term        the newest term given to anyone
    {prefix}{kv}:policy      hash: knob -> its value, those that operators turned
    {prefix}{kv}:placements  no key but a channel: what gateways have just placed

`{kv}` is written with its braces: a Redis Cluster keeps all keys that share
a hash tag on one node, so a script may touch several of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protos.hashing import BlockHash
from protos.messages import ReplicaId
from protos.registry import Membership


class LeaseState(Enum):
    """How far a replica is in its epoch."""

    JOINING = "joining"  # its slot is being swept; in no answer yet
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Lease:
    """The value of a lease key that has not expired."""

    state: LeaseState
    epoch: int
    replica_id: ReplicaId

    @classmethod
    def decode(cls, value: bytes) -> Lease:
        """The lease that `lease_value` wrote."""
        state, epoch, replica_id = value.decode().split(" ", 2)
        return cls(LeaseState(state), int(epoch), ReplicaId(replica_id))


def holder(membership: Membership) -> str:
    """Names one replica in one epoch: the fence that every write must match."""
    return f"{membership.epoch} {membership.replica_id}"


def lease_value(state: LeaseState, membership: Membership) -> str:
    """The value of a live replica's lease key."""
    return f"{state.value} {holder(membership)}"


def bit_offset(slot: int) -> int:
    """Where SETBIT finds the slot, so that the bitmap read little-endian has bit `slot`.

    Redis counts from the highest bit of a byte; flipping the low three bits
    of the slot turns every byte around.
    """
    return slot ^ 7


class Keys:
    """Names of all keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._root = f"{prefix}{{kv}}:"
        self.block_root = f"{self._root}b".encode()
        self.holders = f"{self._root}holders"
        self.numbers = f"{self._root}numbers"
        self.records = f"{self._root}records"
        self.slots = f"{self._root}slots"
        self.epoch = f"{self._root}epoch"
        self.leader = f"{self._root}leader"
        self.term = f"{self._root}term"
        self.policy = f"{self._root}policy"
        self.placements = f"{self._root}placements"

    def block(self, block_hash: BlockHash) -> bytes:
        return self.block_root + block_hash

    def lease(self, slot: int) -> str:
        return f"{self._root}lease:{slot}"

    def held(self, slot: int) -> str:
        return f"{self._root}held:{slot}"
