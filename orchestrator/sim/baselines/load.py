"""Baselines that look at load alone, or at nothing: every load balancer has them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from orchestrator.policy.route import Placement, RouteConfig
from orchestrator.policy.scores import usable_hits
from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from orchestrator.sim.baselines.chosen import chosen, requests_on, tokens_on
from protos.messages import ReplicaId


class RandomChoice:
    """Any replica. The random choice of most load balancers."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def __call__(
        self,
        view: ClusterView,
        subject: Subject,
        hits: Mapping[ReplicaId, int],
        config: RouteConfig,
    ) -> Placement:
        return on(self._random.choice(view.accepting), subject, hits, config)


class RoundRobin:
    """One after the other. The default of nginx and of most routers."""

    def __init__(self) -> None:
        self._placed = 0

    def __call__(
        self,
        view: ClusterView,
        subject: Subject,
        hits: Mapping[ReplicaId, int],
        config: RouteConfig,
    ) -> Placement:
        self._placed += 1
        return on(view.accepting[self._placed % len(view.accepting)], subject, hits, config)


def least_requests(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement:
    """Fewest requests in flight: nginx's `least_conn`, Envoy's least request."""
    least = min(view.accepting, key=lambda r: (requests_on(r), r.replica_id))
    return on(least, subject, hits, config)


def least_tokens(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement:
    """Fewest tokens in flight: what a load balancer becomes that knows prompts differ."""
    least = min(view.accepting, key=lambda r: (tokens_on(r, subject.block_size), r.replica_id))
    return on(least, subject, hits, config)


def on(
    replica: ReplicaView,
    subject: Subject,
    hits: Mapping[ReplicaId, int],
    config: RouteConfig,
) -> Placement:
    """The placement there, with the hits that happen to be there."""
    held = usable_hits(subject, hits).get(replica.replica_id, 0)
    return chosen(replica, held, subject, config)
