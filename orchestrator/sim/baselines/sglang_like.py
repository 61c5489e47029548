"""SGLang's router, `cache_aware`: affinity, until the fleet looks out of balance.

After the description in the router's documents, with its defaults. Out of
balance (the busiest worker has 64 requests and 1.5 times more than the
idlest): the shortest queue wins. Otherwise the longest match wins if it covers
at least 0.3 of the prompt, else the worker whose tree is smallest: of all
prompts sent to it, what was new there. The router forgets of its trees what
workers evict only when they grow very large; here it never does. What it
matches with is the registry's truth, which it does not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.scores import usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from orchestrator.sim.baselines.chosen import chosen, requests_on
from protos.messages import ReplicaId

CACHE_THRESHOLD = 0.3
BALANCE_ABS_THRESHOLD = 64
BALANCE_REL_THRESHOLD = 1.5


class SglangLike:
    """Remembers how large the tree of each replica is."""

    def __init__(self) -> None:
        self._tree: Counter[ReplicaId] = Counter()  # tokens

    def __call__(
        self,
        view: ClusterView,
        subject: Subject,
        hits: Mapping[ReplicaId, int],
        config: RouteConfig,
    ) -> Placement:
        """Shortest queue when out of balance, else a good match, else the smallest tree."""
        usable = usable_hits(subject, hits)

        def held(replica: ReplicaView) -> int:
            return usable.get(replica.replica_id, 0)

        replicas = sorted(view.accepting, key=lambda r: r.replica_id)
        longest = max(replicas, key=held)
        if is_out_of_balance(replicas):
            best = min(replicas, key=requests_on)
        elif held(longest) * subject.block_size >= CACHE_THRESHOLD * subject.prompt_tokens:
            best = longest
        else:
            best = min(replicas, key=lambda r: self._tree[r.replica_id])
        self._tree[best.replica_id] += subject.prompt_tokens - held(best) * subject.block_size
        return chosen(best, held(best), subject, config)


def is_out_of_balance(replicas: list[ReplicaView]) -> bool:
    """The gate: by a difference and by a ratio."""
    loads = [requests_on(replica) for replica in replicas]
    most, least = max(loads), min(loads)
    return most - least > BALANCE_ABS_THRESHOLD and most > BALANCE_REL_THRESHOLD * least
