"""NVIDIA Dynamo's KV router: w * prefill blocks + decode blocks.

After the description in Dynamo's documents of its KV-aware router: the blocks
that remain to be prefilled on a worker, those queued there included, weighted
by `overlap_score_weight` (1 by default), plus the blocks that are active
there. The smallest sum wins; the softmax temperature is 0 by default. A larger
weight favours hits, and with them the first token, over an even decode load.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.scores import usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from orchestrator.sim.baselines.chosen import chosen
from protos.messages import ReplicaId


class DynamoLike:
    """With an overlap score weight."""

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def __call__(
        self,
        view: ClusterView,
        subject: Subject,
        hits: Mapping[ReplicaId, int],
        config: RouteConfig,
    ) -> Placement:
        """Smallest weighted sum of blocks to prefill and active blocks."""
        usable = usable_hits(subject, hits)

        def logit(replica: ReplicaView) -> float:
            held_tokens = usable.get(replica.replica_id, 0) * subject.block_size
            prefill_tokens = replica.prefill_tokens_ahead + subject.prompt_tokens - held_tokens
            active = replica.blocks_committed + subject.prompt_blocks
            return self._weight * prefill_tokens / subject.block_size + active

        best = min(view.accepting, key=lambda r: (logit(r), r.replica_id))
        return chosen(best, usable.get(best.replica_id, 0), subject, config)
