"""Preble's E2: exploit a long match, else explore the least burdened replica.

After "Preble: Efficient Distributed Prompt Scheduling for LLM Serving"
(arXiv 2407.00023). When the longest match saves more than it leaves to
compute, the least loaded of its holders gets the request (exploit). Otherwise
the replica with the least load does (explore), where load is the prefill and
the expected decode work assigned over the last three minutes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.scores import NS_PER_S, usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from orchestrator.sim.baselines.chosen import chosen
from protos.messages import ReplicaId

WINDOW_NS = 180 * NS_PER_S
# A decoded token takes about as long as so many prefilled ones, in a full batch.
DECODE_WEIGHT = 10
EXPECTED_OUTPUT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Assigned:
    at_ns: int
    replica_id: ReplicaId
    work: int


class PrebleLike:
    """Remembers what it assigned in the window."""

    def __init__(self) -> None:
        self._assigned: deque[Assigned] = deque()
        self._work: Counter[ReplicaId] = Counter()

    def __call__(
        self,
        view: ClusterView,
        subject: Subject,
        hits: Mapping[ReplicaId, int],
        config: RouteConfig,
    ) -> Placement:
        self._forget(view.now_ns - WINDOW_NS)
        usable = usable_hits(subject, hits)
        longest = max((usable.get(r.replica_id, 0) for r in view.accepting), default=0)
        if 2 * longest * subject.block_size > subject.prompt_tokens:
            options = [r for r in view.accepting if usable.get(r.replica_id, 0) == longest]
        else:
            options = list(view.accepting)

        def burden(replica: ReplicaView) -> int:
            return self._work[replica.replica_id] + missing(replica.replica_id)

        def missing(replica_id: ReplicaId) -> int:
            return subject.prompt_tokens - usable.get(replica_id, 0) * subject.block_size

        best = min(options, key=lambda r: (burden(r), r.replica_id))
        work = missing(best.replica_id) + DECODE_WEIGHT * EXPECTED_OUTPUT_TOKENS
        self._remember(Assigned(view.now_ns, best.replica_id, work))
        return chosen(best, usable.get(best.replica_id, 0), subject, config)

    def _remember(self, assigned: Assigned) -> None:
        self._assigned.append(assigned)
        self._work[assigned.replica_id] += assigned.work

    def _forget(self, before_ns: int) -> None:
        while self._assigned and self._assigned[0].at_ns < before_ns:
            oldest = self._assigned.popleft()
            self._work[oldest.replica_id] -= oldest.work
