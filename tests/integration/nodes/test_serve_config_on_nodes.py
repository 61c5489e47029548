"""The production overlay's Serve config, put by REST, answers on the nodes it is pinned to."""

from __future__ import annotations

from collections import Counter

import grpc
import httpx
import pytest

from protos import inference_pb2, inference_pb2_grpc
from tests.integration.nodes import manifests
from tests.integration.nodes.cluster import NodeCluster, answers_ready

pytestmark = pytest.mark.ray


def test_actors_stand_on_the_nodes_that_the_manifests_pin_them_to(cluster: NodeCluster) -> None:
    placed = cluster.placed()
    assert placed.keys() == set(manifests.ROLES)
    for role, ids in placed.items():
        assert Counter(ids) == Counter(node.node_id for node in cluster.of(role)), role


def test_both_doors_of_every_gateway_answer_who_has_a_key(
    cluster: NodeCluster, operators_key: str
) -> None:
    shown = {"Authorization": f"Bearer {operators_key}"}
    for gateway in cluster.of("gateway"):
        ask = {"model": "tiny", "prompt": "One", "max_tokens": 4, "ignore_eos": True}
        answer = httpx.post(
            f"{cluster.url(gateway)}/v1/completions", json=ask, headers=shown, timeout=60
        )
        assert answer.json()["usage"]["completion_tokens"] == 4, answer.text
        refused = httpx.post(f"{cluster.url(gateway)}/v1/completions", json=ask, timeout=60)
        assert refused.status_code == 401
        with grpc.insecure_channel(f"{gateway.address}:{cluster.deployed.grpc_port}") as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
            request = inference_pb2.GenerateRequest(text="One", sampling={"max_tokens": 4})
            metadata = (("authorization", shown["Authorization"]),)
            events = list(stub.Generate(request, timeout=60, metadata=metadata))
        assert any(event.chunk.text for event in events)


def test_serves_own_proxy_leads_to_the_same_routes(cluster: NodeCluster) -> None:
    proxy = f"http://127.0.0.1:{cluster.config['http_options']['port']}"
    cluster.wait_for(lambda: answers_ready(proxy), "the proxy knows the routes")
    assert httpx.get(f"{proxy}/v1/models", timeout=60).status_code == 401
