"""What a request costs on a replica, in one currency: estimated seconds.

    T = queue + copy + prefill + others + room + pressure

    queue     U / R             work ahead of it, U, at R a second
    copy      t0 + beta * c     until c blocks that others hold are here; 0 if none is copied
    prefill   work(s, L) / R    its own L prompt tokens from s on: less hits and copied blocks
    others    (w-1) * (copy + prefill)
    room      wait for blocks   until sequences that end have freed what is missing
    pressure  p/R * k / (1-k)   k: share of blocks committed once it is placed

Work is counted in prompt tokens without context (view.py), since a token late
in a long prompt costs more than one in a short one.

A prefix already held lowers `prefill`, and with it `others`: a second of
computing delays not only who asked for it, but all who come before the replica
has caught up, 1 / (1 - load) seconds in all where the queue is served in turn.
Nothing else rewards affinity, so a hot prefix can pull no more load onto a
replica than w times the seconds it saves. `pressure` prices memory: as a pool
fills, running sequences outgrow it and p tokens are computed again; it is
counted in tokens, so that it scales with the replica's speed.

`hit_blocks` is always what `usable_hits` left of what the registry said.
Estimates start from assumptions and are replaced by what replicas measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.policy.view import ReplicaView, Subject
from protos.hashing import reusable_blocks
from protos.messages import ReplicaId

NS_PER_S = 1_000_000_000
PREFILL_TOKENS_PER_S = 4_000.0  # believed of a replica before any has shown its own


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """Weights, and what is believed before anything was measured."""

    prefill_tokens_per_s: float = PREFILL_TOKENS_PER_S
    residence_s: float = 3.0  # 128 tokens at 25 ms
    growth_tokens: int = 64  # of the completion, reserved when a choice is placed
    pressure_tokens: float = 512.0  # computed again when a pool at k = 1/2 overflows
    prefill_weight: float = 4.0  # w: what a second of computing costs all, at a load of 3/4


@dataclass(frozen=True, slots=True)
class Cost:
    """The terms of T for one request on one replica, and the memory that it takes."""

    blocks: int  # to set aside for it
    blocks_missing: int  # of these, what the replica does not have now
    queue_s: float
    prefill_s: float
    room_s: float
    pressure_s: float
    copy_s: float = 0.0
    others_s: float = 0.0

    @property
    def own_s(self) -> float:
        """Until it has its first token, once it has its turn."""
        return self.copy_s + self.prefill_s

    @property
    def total_s(self) -> float:
        return self.queue_s + self.own_s + self.others_s + self.room_s + self.pressure_s


def cost(
    replica: ReplicaView,
    subject: Subject,
    hit_blocks: int,
    config: ScoreConfig,
    *,
    copied_blocks: int = 0,
) -> Cost:
    """Estimated seconds that `subject` costs on `replica`, term by term.

    `copied_blocks` beyond its hits are copied there before its turn.
    """
    rate = replica.prefill_tokens_per_s or config.prefill_tokens_per_s
    needed = blocks_needed(replica, subject, hit_blocks, config)
    room = replica.blocks_room(hit_blocks=hit_blocks)
    room += blocks_for_class(replica, subject, blocks_held=needed + hit_blocks)
    missing = max(0, needed - room)
    copy_s = 0.0
    if copied_blocks:
        copy_s = (replica.copy_start_ns + replica.copy_block_ns * copied_blocks) / NS_PER_S
    prefill_s = prefill_work(replica, subject, hit_blocks + copied_blocks) / rate
    return Cost(
        blocks=needed,
        blocks_missing=missing,
        queue_s=replica.prefill_tokens_ahead / rate,
        prefill_s=prefill_s,
        room_s=room_wait_s(replica, missing, config),
        pressure_s=config.pressure_tokens / rate * pressure(replica, needed),
        copy_s=copy_s,
        others_s=(config.prefill_weight - 1) * (copy_s + prefill_s),
    )


def prefill_work(replica: ReplicaView, subject: Subject, present_blocks: int) -> float:
    """Of the prompt behind the blocks that are present, in tokens without context."""
    return replica.work(present_blocks * subject.block_size, subject.prompt_tokens)


def usable_hits(subject: Subject, hits: Mapping[ReplicaId, int]) -> dict[ReplicaId, int]:
    """Hit blocks that the prompt can really take: never the one of its last token."""
    most = reusable_blocks(subject.prompt_tokens, block_size=subject.block_size)
    return {replica_id: min(most, held) for replica_id, held in hits.items()}


def blocks_needed(
    replica: ReplicaView, subject: Subject, hit_blocks: int, config: ScoreConfig
) -> int:
    """Blocks to set aside: the prompt's, less the hits, and some growth for each choice.

    Growth never makes a request larger than the replica: whatever could run
    there alone can be placed there when it is idle.
    """
    growth_tokens = min(subject.tokens_max, config.growth_tokens)
    growth = subject.choices * -(-growth_tokens // subject.block_size)
    reserved = max(0, min(growth, replica.blocks_total - subject.prompt_blocks))
    return subject.prompt_blocks - hit_blocks + reserved


def blocks_for_class(replica: ReplicaView, subject: Subject, *, blocks_held: int) -> int:
    """Blocks that its class adds to its room, or takes from it.

    Interactive requests may take what others give way for. Others leave what is
    reserved; yet what could run on an empty replica alone still can: `blocks_held` are
    all that it will have there, found ones included.
    """
    if subject.is_interactive:
        return replica.blocks_yielding
    return -max(0, min(replica.blocks_reserved, replica.blocks_total - blocks_held))


def room_wait_s(replica: ReplicaView, blocks_missing: int, config: ScoreConfig) -> float:
    """Seconds until the missing blocks are free: all committed ones are after one residence."""
    share = min(1.0, blocks_missing / max(1, replica.blocks_committed))
    return residence_s(replica, config) * share


def residence_s(replica: ReplicaView, config: ScoreConfig) -> float:
    """How long a sequence stays in the batch."""
    if replica.residence_ns is None:
        return config.residence_s
    return replica.residence_ns / NS_PER_S


def pressure(replica: ReplicaView, blocks_needed: int) -> float:
    """k / (1 - k) with k projected; finite at k = 1 by one block of slack."""
    share = min(1.0, (replica.blocks_committed + blocks_needed) / replica.blocks_total)
    return share / (1.0 - share + 1.0 / replica.blocks_total)
