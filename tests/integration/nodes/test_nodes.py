"""Nodes are lost, join and are replaced one by one, and nobody who listens notices.

The application, its pins and its counts are those of the production overlay.
Every stream is held against what it says undisturbed (audience.py).
"""

from __future__ import annotations

import re
import time
from functools import partial

import httpx
import pytest

from tests.integration.nodes import manifests
from tests.integration.nodes.audience import Audience, longest_silence_s
from tests.integration.nodes.cluster import NodeCluster
from tests.integration.nodes.figures import said
from tests.integration.nodes.node import Node
from tests.integration.nodes.patience import TAKES_MINUTES

pytestmark = [pytest.mark.ray, TAKES_MINUTES]

CUT = re.compile(r'^blockyard_streams_resumed_total\{.*reason="broken".*\} (\S+)$', re.MULTILINE)


def test_lost_nodes_cut_no_stream_and_new_ones_take_their_work(
    cluster: NodeCluster, audience: Audience
) -> None:
    lost = [cluster.of(role)[0] for role in manifests.ROLES]
    with audience.listening() as heard:
        cluster.wait_for(cluster.are_all_busy, "every replica has streams")
        began = time.monotonic()
        cluster.lose(*lost)
        joined = cluster.add(*manifests.ROLES)
        nodes_s = time.monotonic() - began
        (newer,) = (node for node in joined if node.role == "replica")
        cluster.wait_for(lambda: cluster.replica_on(newer), "a replica on the new node")
        replica_s = time.monotonic() - began
        cluster.wait_for(cluster.is_whole, "all work is elsewhere")
        whole_s = time.monotonic() - began
        cluster.wait_for(lambda: cluster.runs_something(newer), f"work comes to {newer.name}")
    said(
        "loss of a node of each role",
        nodes_joined_s=nodes_s,
        replica_replaced_s=replica_s,
        all_elsewhere_s=whole_s,
        silence_s=longest_silence_s(heard),
        streams=len(heard),
    )
    assert cut_streams(cluster), "some went on elsewhere from the tokens delivered"
    dead = {node.node_id for node in lost}
    assert all(cluster.states()[node_id] == "DEAD" for node_id in dead)
    assert not dead & {node_id for ids in cluster.placed().values() for node_id in ids}


def test_every_node_is_replaced_one_after_another_and_no_stream_is_cut(
    cluster: NodeCluster, audience: Audience
) -> None:
    """Nobody comes back to be told the rest: what is cut stays cut, and is seen.

    Power: with a hook that only exits, streams of the first gateway that goes are broken.
    """
    old = [node for node in cluster.nodes if node.role in manifests.ROLES]
    left_s: list[float] = []
    with audience.listening(comes_back=False) as heard:
        cluster.wait_for(cluster.are_all_busy, "every replica has streams")
        for node in old:
            (newer,) = cluster.add(node.role)
            began, cut = time.monotonic(), cut_streams(cluster)
            cluster.retire(node)
            left_s.append(time.monotonic() - began)
            if node.role != "gateway":  # which takes its count along
                assert cut_streams(cluster) == cut, f"{node.name} did not give away what it ran"
            cluster.wait_for(partial(stands_on, cluster, newer), f"{newer.name} has an actor")
        cluster.wait_for(cluster.is_whole, "all serve on new nodes")
    said(
        "rolling replacement of every node",
        nodes=len(old),
        left_s_mean=sum(left_s) / len(left_s),
        left_s_most=max(left_s),
        silence_s=longest_silence_s(heard),
        streams=len(heard),
    )
    assert not {node.node_id for node in old} & {
        i for ids in cluster.placed().values() for i in ids
    }


def cut_streams(cluster: NodeCluster) -> float:
    """How many a replica's end has cut, as all gateways count them; they went on elsewhere."""
    counts = [
        CUT.findall(httpx.get(f"{cluster.url(gateway)}/metrics", timeout=60).text)
        for gateway in cluster.ready_gateways()
    ]
    return sum(float(count) for found in counts for count in found)


def stands_on(cluster: NodeCluster, node: Node) -> bool:
    return node.node_id in cluster.placed()[node.role]
