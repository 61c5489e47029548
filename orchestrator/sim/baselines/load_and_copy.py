"""Places by load alone, and copies the prompt's blocks from whoever holds most of them.

What a pool of KV that all replicas share comes to, such as Mooncake's: where a
request runs does not matter to its hits, each of which is paid for with a
transfer, whether or not that is cheaper than computing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.scores import usable_hits
from orchestrator.policy.view import ClusterView, Subject
from orchestrator.sim.baselines.load import least_requests
from protos.messages import ReplicaId


def load_and_copy(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement:
    """Fewest requests in flight, with all that anybody else holds beyond what is there."""
    placement = least_requests(view, subject, hits, config)
    usable = usable_hits(subject, hits)
    blocks, source = max(
        ((usable[each], each) for each in sorted(usable)), default=(0, placement.replica_id)
    )
    if blocks <= placement.hit_blocks:
        return placement
    return replace(placement, source=source, source_blocks=blocks)
