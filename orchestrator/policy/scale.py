"""How many replicas the predicted queueing of blocks and prompt tokens asks for.

Two things are queued for: blocks, by sequences that run, wait at a replica or
stand in a gateway's line; and the time that waiting prompts take to compute.
Enough replicas are there when the blocks fill them to `fill_max` and the
prompts are computed within `backlog_s_max`.

More are asked for at once, at most `growth_max` times those that are ready:
replicas still starting bring nothing to measure, and are counted as there.
Fewer are asked for when even a more generous measure (`fill_calm`,
`backlog_s_calm`) has been content with fewer for all of `quiet_ns`: then as
many as were needed at its worst moment, at least half. The gap between the
two measures and the wait keep a steady load from making the number swing, and
those that stay have room for what the leaving ones' sequences take with them.

Pure: what must be remembered from one call to the next is in `Scale.calm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil

from protos.messages import Snapshot

NS_PER_S = 1_000_000_000


class ScaleReason(Enum):
    """Why this many."""

    BLOCKS = "blocks"  # more are wanted than would fill those that are there
    PREFILL = "prefill"  # waiting prompts take those that are there too long
    CALM = "calm"  # fewer have been enough for long
    BOUND = "bound"  # the least or the most that may be
    STEADY = "steady"


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What one replica reports, as far as its number matters."""

    blocks_total: int
    blocks_used: int  # by sequences; cached ones are free to take
    blocks_waiting: int  # that the sequences in its queue will take
    prefill_tokens_waiting: int
    sequences: int  # that run, in the blocks used
    prefill_tokens_per_s: float | None  # None: it has not been busy enough to tell
    is_open: bool = True  # a closed one takes no work: it is there, and no help


def load_of(snapshot: Snapshot) -> ReplicaLoad:
    """A replica's report, as this policy sees it."""
    busy_s = snapshot.full_ns / NS_PER_S
    return ReplicaLoad(
        blocks_total=snapshot.blocks_total,
        blocks_used=snapshot.blocks_used,
        blocks_waiting=snapshot.blocks_waiting,
        prefill_tokens_waiting=snapshot.prefill_tokens_waiting,
        sequences=snapshot.sequences_running,
        prefill_tokens_per_s=snapshot.full_prefill_tokens / busy_s if busy_s else None,
        is_open=not snapshot.draining,
    )


@dataclass(frozen=True, slots=True)
class Calm:
    """Since when fewer replicas would do, and the most that were needed meanwhile."""

    since_ns: int
    needed: int


@dataclass(frozen=True, slots=True)
class ScaleView:
    """The replicas at one moment."""

    now_ns: int
    target: int  # asked for last time; those that still start are among them
    ready: tuple[ReplicaLoad, ...]
    line_requests: int = 0  # in the gateways' lines, for want of room
    calm: Calm | None = None  # of the last Scale


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of replicas there should be."""

    count: int
    reason: ScaleReason
    calm: Calm | None = None


@dataclass(frozen=True, slots=True)
class ScaleConfig:
    replicas_min: int
    replicas_max: int
    # The rest is room for growth while a replica starts, and for what prefix caches keep.
    fill_max: float = 0.75
    fill_calm: float = 0.5
    backlog_s_max: float = 2.0
    backlog_s_calm: float = 0.5
    growth_max: float = 2.0
    quiet_ns: int = 60_000_000_000

    def __post_init__(self) -> None:
        assert 1 <= self.replicas_min <= self.replicas_max
        assert 0 < self.fill_calm < self.fill_max <= 1
        assert 0 < self.backlog_s_calm < self.backlog_s_max
        assert self.growth_max > 1


def replicas_wanted(view: ScaleView, config: ScaleConfig) -> Scale:
    """How many replicas there should be. Until one has reported, as many as were asked for."""
    bounded = max(config.replicas_min, min(config.replicas_max, view.target))
    if bounded != view.target:
        return Scale(bounded, ScaleReason.BOUND)
    if not view.ready:
        return Scale(view.target, ScaleReason.STEADY)
    by_blocks = for_blocks(view, config.fill_max)
    by_prefill = for_prefill(view, config.backlog_s_max)
    needed = max(by_blocks, by_prefill) + closed(view)
    if needed > view.target:
        reason = ScaleReason.BLOCKS if by_blocks >= by_prefill else ScaleReason.PREFILL
        return grown(view, needed, reason, config)
    return shrunk(view, config)


def grown(view: ScaleView, needed: int, reason: ScaleReason, config: ScaleConfig) -> Scale:
    """More replicas, as far as the ready ones can vouch for them."""
    vouched = ceil(len(view.ready) * config.growth_max)
    count = max(view.target, min(needed, vouched, config.replicas_max))
    if count > view.target:
        return Scale(count, reason)
    is_most = view.target == config.replicas_max
    return Scale(view.target, ScaleReason.BOUND if is_most else ScaleReason.STEADY)


def shrunk(view: ScaleView, config: ScaleConfig) -> Scale:
    """Fewer replicas if that has been enough for long; else the calm so far."""
    needed = max(
        for_blocks(view, config.fill_calm),
        for_prefill(view, config.backlog_s_calm),
        config.replicas_min,
    )
    needed += closed(view)
    if needed >= view.target or len(view.ready) < view.target:
        return Scale(view.target, ScaleReason.STEADY)
    calm = view.calm or Calm(view.now_ns, needed)
    calm = Calm(calm.since_ns, max(calm.needed, needed))
    if view.now_ns - calm.since_ns < config.quiet_ns:
        return Scale(view.target, ScaleReason.STEADY, calm)
    return Scale(max(calm.needed, ceil(view.target / 2)), ScaleReason.CALM)


def closed(view: ScaleView) -> int:
    return sum(not load.is_open for load in view.ready)


def for_blocks(view: ScaleView, fill: float) -> int:
    """Replicas that the wanted blocks fill to no more than `fill`."""
    wanted = sum(load.blocks_used + load.blocks_waiting for load in view.ready)
    # All are taken to be as small as the smallest: any of them may be the one that goes.
    blocks_each = min(load.blocks_total for load in view.ready)
    return ceil((wanted + for_line(view)) / (blocks_each * fill))


def for_line(view: ScaleView) -> int:
    """Blocks that the requests in the lines will take, if they are like those that run."""
    sequences = sum(load.sequences for load in view.ready)
    used = sum(load.blocks_used for load in view.ready)
    return ceil(view.line_requests * used / sequences) if sequences else view.line_requests


def for_prefill(view: ScaleView, within_s: float) -> int:
    """Replicas that compute all waiting prompts within so many seconds; 0 if nobody can tell."""
    rates = [rate for load in view.ready if (rate := load.prefill_tokens_per_s) is not None]
    if not rates:
        return 0
    waiting = sum(load.prefill_tokens_waiting for load in view.ready)
    return ceil(waiting / (within_s * sum(rates) / len(rates)))
