"""The cluster as policies see it: frozen, at one instant, debits included.

A `ReplicaView` is the replica's newest report plus what was promised to it
since (debits): without them, every request of a spike would see the same free
blocks. `alive` says that the report is recent and the way to the replica is
open; whether a policy may choose a replica is `accepts`, and nothing else.

A `Subject` is what policies know of a request. They see sizes, never tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from protos.messages import ReplicaId, RequestClass, RequestId


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica: what it reported, and what was promised to it since."""

    replica_id: ReplicaId
    epoch: int
    alive: bool
    draining: bool
    blocks_total: int
    blocks_free: int
    blocks_cached: int
    blocks_used: int
    blocks_waiting: int
    blocks_promised: int
    sequences_running: int
    sequences_waiting: int
    sequences_promised: int
    # Tokens without context, as `work` counts them.
    prefill_tokens_waiting: int
    prefill_tokens_promised: int
    prefill_tokens_per_s: float | None  # measured; None before the first measurement
    residence_ns: int | None  # how long a sequence decodes; None before the first finished
    blocks_reserved: int = 0  # kept for interactive requests; of no use to others
    blocks_yielding: int = 0  # held or awaited by others, which give way to interactive ones
    # What a copy of blocks to it costs, before the first and for each; both 0: it takes none.
    copy_start_ns: int = 0
    copy_block_ns: int = 0
    context_weight: float = 0.0  # what attending to one token costs, in tokens; measured

    @property
    def accepts(self) -> bool:
        """Whether it takes new requests at all."""
        return self.alive and not self.draining

    @property
    def prefill_tokens_ahead(self) -> int:
        """Prompt tokens to compute before a request placed now gets its turn."""
        return self.prefill_tokens_waiting + self.prefill_tokens_promised

    @property
    def sequences_ahead(self) -> int:
        """Sequences that wait there already, or are on their way."""
        return self.sequences_waiting + self.sequences_promised

    @property
    def blocks_committed(self) -> int:
        """Blocks that are in use or spoken for."""
        return self.blocks_used + self.blocks_waiting + self.blocks_promised

    @property
    def takes_copies(self) -> bool:
        """Whether blocks can be copied to it."""
        return self.copy_start_ns > 0 or self.copy_block_ns > 0

    def work(self, start: int, stop: int) -> float:
        """Of computing the tokens from `start` to before `stop` here: as many without context."""
        return (stop - start) * (1 + self.context_weight * (start + stop - 1) / 2)

    def blocks_room(self, *, hit_blocks: int) -> int:
        """Blocks that a request may still take here; negative when overcommitted.

        The request's own hit blocks may be cached ones, which it must not
        count on evicting; where they are in use already, this is too careful
        by as many.
        """
        evictable = max(0, self.blocks_cached - hit_blocks)
        return self.blocks_free + evictable - self.blocks_waiting - self.blocks_promised


@dataclass(frozen=True, slots=True)
class ClusterView:
    """All known replicas at `now_ns`."""

    now_ns: int
    replicas: tuple[ReplicaView, ...]

    @property
    def accepting(self) -> tuple[ReplicaView, ...]:
        """Replicas that take new requests."""
        return tuple(replica for replica in self.replicas if replica.accepts)

    def without(self, replica_ids: frozenset[ReplicaId]) -> ClusterView:
        """The same view, blind to some replicas."""
        kept = tuple(r for r in self.replicas if r.replica_id not in replica_ids)
        return ClusterView(self.now_ns, kept)

    def unreserved(self) -> ClusterView:
        """The same view, with nothing kept for anybody."""
        lent = tuple(replace(replica, blocks_reserved=0) for replica in self.replicas)
        return ClusterView(self.now_ns, lent)


@dataclass(frozen=True, slots=True)
class Subject:
    """A request as policies see it.

    `held` are leading blocks of its prompt that replicas have by now, and could
    send to another one. Hits may count on more: on blocks that are to come.
    """

    request_id: RequestId
    prompt_tokens: int
    tokens_max: int
    choices: int
    block_size: int
    request_class: RequestClass = RequestClass.INTERACTIVE
    held: Mapping[ReplicaId, int] = field(default_factory=dict)

    @property
    def is_interactive(self) -> bool:
        return self.request_class is RequestClass.INTERACTIVE

    @property
    def prompt_blocks(self) -> int:
        return -(-self.prompt_tokens // self.block_size)

    @property
    def blocks_least(self) -> int:
        """Blocks without which not even one token can be generated."""
        return -(-(self.prompt_tokens + 1) // self.block_size)
