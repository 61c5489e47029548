"""Cluster fragmentation: blocks that are there, while those who wait need them elsewhere.

Inside a replica any block is as good as any other. Between replicas it is not:
a request that waits for forty blocks is not helped by twenty here and twenty
there, nor one that waits at a full replica by an empty one. Such blocks are
*stranded*. While nobody waits none is, however many are unused.

What replicas queue is known in sum only: a replica's own blocks are taken to
be of use to its queue where the mean of those who wait there would fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.policy.scores import ScoreConfig, cost, usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from protos.messages import ReplicaId

Hits = Mapping[ReplicaId, int]


def blocks_stranded(
    view: ClusterView, waiting: Sequence[tuple[Subject, Hits]], config: ScoreConfig
) -> int:
    """Free and cached blocks of which nobody who waits can make use where they are.

    `waiting` are requests that no replica has yet, with the hits known for each.
    """
    if not waiting and not any(replica.sequences_waiting for replica in view.accepting):
        return 0
    asked = [(subject, usable_hits(subject, hits)) for subject, hits in waiting]
    return sum(
        _available(replica)
        for replica in view.accepting
        if not _serves_its_own(replica)
        and not any(_fits(replica, subject, hits, config) for subject, hits in asked)
    )


def _serves_its_own(replica: ReplicaView) -> bool:
    queued = replica.sequences_waiting
    return queued > 0 and replica.blocks_waiting <= queued * _available(replica)


def _fits(replica: ReplicaView, subject: Subject, hits: Hits, config: ScoreConfig) -> bool:
    hit_blocks = hits.get(replica.replica_id, 0)
    return cost(replica, subject, hit_blocks, config).blocks_missing == 0


def _available(replica: ReplicaView) -> int:
    return replica.blocks_free + replica.blocks_cached
