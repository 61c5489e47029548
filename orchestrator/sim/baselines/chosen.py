"""What the baselines share: loads as they count them, and a placement."""

from __future__ import annotations

from orchestrator.policy.route import Placement, RouteConfig, RouteReason, place, uncopied
from orchestrator.policy.view import ReplicaView, Subject


def requests_on(replica: ReplicaView) -> int:
    """Requests that run, wait or are on their way there."""
    return replica.sequences_running + replica.sequences_ahead


def tokens_on(replica: ReplicaView, block_size: int) -> int:
    """Prompt tokens still to compute there, and tokens whose KV is in use."""
    return replica.prefill_tokens_ahead + replica.blocks_used * block_size


def chosen(
    replica: ReplicaView, hit_blocks: int, subject: Subject, config: RouteConfig
) -> Placement:
    """The placement on the replica that a baseline has chosen."""
    reason = RouteReason.PREFIX_HIT if hit_blocks else RouteReason.LOAD
    return place(uncopied(replica, hit_blocks, subject, config), subject, reason)
