"""Whoever holds most of the prefix gets the request, whatever else it has to do.

The first idea that everybody has. Where all requests share their first block,
the first replica to compute it gets everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.scores import usable_hits
from orchestrator.policy.view import ClusterView, Subject
from orchestrator.sim.baselines.chosen import chosen, requests_on
from protos.messages import ReplicaId


def longest_prefix(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement:
    """Most hit blocks, then fewest requests."""
    usable = usable_hits(subject, hits)
    holder = min(
        view.accepting,
        key=lambda r: (-usable.get(r.replica_id, 0), requests_on(r), r.replica_id),
    )
    return chosen(holder, usable.get(holder.replica_id, 0), subject, config)
