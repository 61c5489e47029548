"""The contract of the prefix registry: which replicas hold the blocks of a prefix.

Two halves, because two kinds of process use it: replicas write (`join`,
`renew`, `publish`, `leave`), gateways read (`members`, `locate`) and tell each
other what they have placed (`Announcer`). Beside them stands who leads the
control plane. What every implementation promises, and one conformance suite
checks:

- *Epoch.* `join` gives a replica an epoch greater than any it had before; a
  write under an older epoch changes nothing and answers False.
- *Lease.* A replica that has not renewed for `lease_ms` is in no answer, at
  once and without a scan; after that `renew` and `publish` answer False and
  the replica joins again and publishes its whole inventory.
- *A slot is clean.* A replica never inherits a block entry of another one,
  nor of its own former epoch.
- *Order.* Batches of an epoch are numbered from 0. A batch applied already is
  ignored and answers True; after a gap the registry answers False until the
  replica has sent a complete inventory.
- *A hint, not a promise.* `locate` may be late in both directions; the engine
  looks again at admission. A stale entry costs a recompute, never a token.
- *How late.* What `publish` has answered True to is in every later `locate`, at
  every gateway. So a block is visible, or gone, one interval of the replica's
  batches plus one round trip after it became full, or was evicted; another
  round trip later where a call was under way, and as much later as the registry
  is away. Replicas report for how long they owe it news (`registry_behind_ns`).
- *Announcements are gossip.* Each reaches every other gateway that listens at
  most once, or never; nobody waits for them and nothing breaks without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from protos.hashing import BlockHash
from protos.messages import ModelCard, ReplicaId


class RegistryUnavailable(Exception):
    """The registry cannot be reached. Routing goes on without it."""


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """How to reach a replica and what it serves."""

    replica_id: ReplicaId
    address: str  # host:port of its data service
    card: ModelCard
    blocks_total: int


@dataclass(frozen=True, slots=True)
class Membership:
    """A replica's place in the registry for one epoch."""

    replica_id: ReplicaId
    slot: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Member:
    """A replica whose lease is live."""

    record: ReplicaRecord
    epoch: int
    draining: bool


@dataclass(frozen=True, slots=True)
class BlockBatch:
    """Changes to what a replica holds, in order of `number`.

    `removed` is applied before `stored`. A complete batch replaces everything
    the registry believed of this replica by `stored`, and its number becomes
    the one to count from.
    """

    number: int
    stored: tuple[BlockHash, ...]
    removed: tuple[BlockHash, ...] = ()
    complete: bool = False


class RegistryWriter(Protocol):
    """The replica's half. All methods may raise RegistryUnavailable."""

    async def join(self, record: ReplicaRecord) -> Membership: ...

    async def renew(self, membership: Membership, *, draining: bool) -> bool: ...

    async def publish(self, membership: Membership, batch: BlockBatch) -> bool: ...

    async def leave(self, membership: Membership) -> None: ...


class RegistryReader(Protocol):
    """The gateway's half. All methods may raise RegistryUnavailable."""

    async def members(self) -> tuple[Member, ...]:
        """Replicas with a live lease, by replica id."""
        ...

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        """Leading blocks of the chain that each live replica holds; absent means none."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """A gateway has sent a request to a replica: what that costs there, and what it leaves there.

    `hashes` are blocks of the prompt, from its first one on; of a long prompt not
    all. The replica holds the first `held` of them already, as far as is known.
    """

    replica_id: ReplicaId
    epoch: int
    prefill_tokens: int
    blocks: int
    sequences: int
    is_interactive: bool
    settle_ms: int  # from now; by then the prompt is computed, or will not be
    hashes: tuple[BlockHash, ...] = ()
    held: int = 0


class Announcer(Protocol):
    """What one gateway tells the others about its placements, and hears of theirs."""

    def announce(self, announcement: Announcement) -> None:
        """Tell the others soon. Never waits and never fails: what cannot be told is forgotten."""
        ...

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        """From now on `hear` what others announce, never what this one did. Once."""
        ...

    async def close(self) -> None:
        """Neither tell nor hear any more."""
        ...


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads the control plane. A greater term is a later leader."""

    address: str
    term: int


class ControlDirectory(Protocol):
    """Who leads the control plane, by a lease. All methods may raise RegistryUnavailable."""

    async def lead(self, candidate: str, address: str) -> int | None:
        """Lead, or go on leading, for one lease: the term; None while another candidate leads.

        `candidate` names one life of one process. Its term stays the same while
        its lease is unbroken; every new leader's is greater than all before.
        """
        ...

    async def resign(self, candidate: str) -> None:
        """End the lease at once, if it is this candidate's."""
        ...

    async def leader(self) -> Leader | None:
        """The leader whose lease is live."""
        ...

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        """Keep all knobs that were turned, for every later leader.

        Under any term but the newest one it changes nothing and answers False.
        """
        ...

    async def policy(self) -> Mapping[str, str]:
        """The knobs that were kept last; none at first."""
        ...


class PrefixRegistry(RegistryWriter, RegistryReader, ControlDirectory, Protocol):
    """The whole contract."""
