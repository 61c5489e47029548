"""What a request costs in memory and time: blocks that it holds, times nanoseconds.

Only blocks that the request brings count; those that it found are paid for by
nobody. Predicted when it is placed, from how long sequences stay in a batch;
measured when it has ended, from what its gateway saw of it.
"""

from __future__ import annotations

from orchestrator.policy.route import Placement
from orchestrator.policy.scores import NS_PER_S, ScoreConfig, residence_s
from orchestrator.policy.view import ClusterView, Subject


def predicted_block_ns(view: ClusterView, placement: Placement, config: ScoreConfig) -> int:
    """For a placement in this view: its blocks, for its prefill and one residence."""
    residence = next(
        residence_s(replica, config)
        for replica in view.replicas
        if replica.replica_id == placement.replica_id
    )
    return round(placement.blocks * (placement.cost.prefill_s + residence) * NS_PER_S)


def used_block_ns(subject: Subject, *, hit_blocks: int, tokens: int, decode_ns: int) -> int:
    """Of a request that got `tokens` in this time, the blocks of which grew one by one."""
    size = subject.block_size
    return (2 * size * (subject.prompt_blocks - hit_blocks) + tokens) * decode_ns // (2 * size)
