"""From load to a node and back: Serve asks by our policy, Ray's autoscaler finds the node.

The autoscaler is Ray's own for KubeRay, the operator is a stand-in
(operator.py). On the way the application gets other `args`, so every actor is
restarted, one after the other: an upgrade, under streams like all the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx
import pytest

from tests.integration.nodes import manifests
from tests.integration.nodes.audience import Audience, longest_silence_s
from tests.integration.nodes.cluster import NodeCluster
from tests.integration.nodes.figures import said
from tests.integration.nodes.operator import operated
from tests.integration.nodes.patience import TAKES_MINUTES

pytestmark = [pytest.mark.ray, TAKES_MINUTES]

MOST = manifests.REPLICAS + 1
BLOCKS = 600  # of each replica
FILLERS = 6
# Letters, a token each: with what the audience holds, more than the policy lets two replicas hold.
FILLING = 2800
IDLE_S = 3


def test_load_brings_a_node_and_its_end_takes_it_away_and_no_stream_is_cut(
    cluster: NodeCluster, audience: Audience
) -> None:
    ranged = manifests.scaled_by_load(
        cluster.config,
        min_replicas=manifests.REPLICAS,
        replicas=manifests.REPLICAS,
        max_replicas=MOST,
        scale_in_after_s=1,
        blocks=BLOCKS,
    )
    few = set(cluster.of("replica"))
    before = set(cluster.application_actors())
    spec = manifests.raycluster(replicas_most=MOST, idle_s=IDLE_S)
    with audience.listening() as heard:
        cluster.put(ranged)
        began = time.monotonic()
        cluster.wait_for(lambda: is_renewed(cluster, before), "every actor was replaced")
        renewed_s = time.monotonic() - began
        with operated(cluster, spec) as operator:
            with filled(cluster, audience):
                began = time.monotonic()
                cluster.wait_for(lambda: has_grown(cluster), "a replica on a node that was added")
                grown_s = time.monotonic() - began
                (newer,) = set(cluster.of("replica")) - few
                cluster.wait_for(lambda: cluster.runs_something(newer), "work comes to it")
            began = time.monotonic()
            cluster.wait_for(lambda: len(cluster.of("replica")) < MOST, "a node has left")
            gone_s = time.monotonic() - began
            deleted = [
                name
                for patch in operator.patches
                if patch["path"].endswith("/scaleStrategy")
                for name in patch["value"]["workersToDelete"]
            ]
        cluster.wait_for(lambda: takes_work(cluster) == manifests.REPLICAS, "as few as before")
    said(
        "scaled by load",
        args_renewed_s=renewed_s,
        node_and_replica_s=grown_s,
        node_gone_s=gone_s,
        silence_s=longest_silence_s(heard),
        streams=len(heard),
    )
    assert len(deleted) == 1, "the autoscaler named one pod"


def is_renewed(cluster: NodeCluster, before: set[str]) -> bool:
    return cluster.is_running() and not before & set(cluster.application_actors())


def has_grown(cluster: NodeCluster) -> bool:
    return takes_work(cluster) == MOST


def takes_work(cluster: NodeCluster) -> int:
    """Replicas, each on a node of its own."""
    return sum(cluster.replica_on(node) is not None for node in cluster.of("replica"))


@contextmanager
def filled(cluster: NodeCluster, audience: Audience) -> Iterator[None]:
    """Long prompts take more than two replicas should hold, for as long as the block runs."""
    enough = Event()
    with ThreadPoolExecutor(FILLERS) as pool:
        filling = [pool.submit(fill, audience, number, enough) for number in range(FILLERS)]
        try:
            yield
        finally:
            enough.set()
        for one in filling:
            one.result()


def fill(audience: Audience, number: int, enough: Event) -> None:
    """A long prompt and its answer, again and again; a gateway that goes is no reason to end."""
    body = {
        "model": "tiny",
        "prompt": "abcdef"[number] * FILLING,
        "max_tokens": 300,
        "ignore_eos": True,
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {audience.key}", "X-Request-Class": "batch"}
    while not enough.is_set():
        url = f"{audience.doors[0]}/v1/completions"
        with httpx.stream("POST", url, json=body, headers=headers, timeout=300) as answer:
            for _ in answer.iter_lines():
                if enough.is_set():
                    return
