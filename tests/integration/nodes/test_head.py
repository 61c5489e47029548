"""The head is killed, and comes back from Redis with its cluster and its application."""

from __future__ import annotations

import time

import pytest

from tests.integration.nodes.audience import Audience, longest_silence_s
from tests.integration.nodes.cluster import NodeCluster
from tests.integration.nodes.figures import said

pytestmark = pytest.mark.ray


def test_a_killed_head_comes_back_and_serve_goes_on_without_being_asked(
    cluster: NodeCluster, audience: Audience
) -> None:
    """Nothing is put again; that Serve is in charge shows in what it does about a dead replica."""
    (head,) = cluster.of("headgroup")
    before = cluster.placed()
    with audience.listening() as heard:
        began = time.monotonic()
        cluster.lose(head)
        dead_at = len(heard)
        cluster.wait_for(lambda: len(heard) > dead_at, "streams are told to their end without it")
        restarted = time.monotonic()
        cluster.start_head()
        cluster.wait_for(cluster.is_running, "Serve says that everything runs")
        back_s = time.monotonic() - restarted
        assert cluster.placed() == before, "nobody was restarted for it"
        victim = cluster.of("replica")[0]
        lost = cluster.replica_on(victim)
        (actor,) = victim.actors()
        actor.kill()
        cluster.wait_for(
            lambda: cluster.replica_on(victim) not in (None, lost), "Serve replaces a replica"
        )
    said(
        "head killed",
        headless_s=restarted - began,
        back_s=back_s,
        silence_s=longest_silence_s(heard),
        streams=len(heard),
    )
