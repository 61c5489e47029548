"""Pods are found by the labels of deploy/, and a scenario's names mean some of them."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.live.chaos.standing import Standing, pods_in, service_in


def item(name: str, role: str, *, ready: bool = True, leaving: bool = False) -> dict[str, Any]:
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {}
    return {
        "metadata": {"name": name, "labels": {"blockyard/role": role}, **gone},
        "status": {
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def pods(*items: dict[str, Any]) -> Standing:
    return Standing(pods_in(json.dumps({"items": items})))


def test_members_are_counted_from_zero_in_the_order_of_names() -> None:
    standing = pods(item("z", "replica"), item("a", "replica"), item("m", "gateway"))
    assert [pod.name for pod in standing.member("replica-0")] == ["a"]
    assert [pod.name for pod in standing.member("replica-1")] == ["z"]
    assert [pod.name for pod in standing.member("node-0")] == ["a", "m"]


def test_a_pod_that_leaves_is_no_member_and_the_head_never_was() -> None:
    standing = pods(item("a", "replica", leaving=True), item("b", "replica"), item("h", "head"))
    assert [pod.name for pod in standing.pods] == ["b"]


def test_a_pod_that_has_not_begun_is_not_ready() -> None:
    begun = item("a", "replica", ready=False)
    waiting = {"metadata": {"name": "b", "labels": {"blockyard/role": "replica"}}}
    assert pods(begun, waiting, item("c", "replica")).ready()["replica"] == 1


def test_the_only_control_plane_leads() -> None:
    standing = pods(item("a", "control-plane"))
    assert [pod.name for pod in standing.member("leader")] == ["a"]


def test_two_services_are_none() -> None:
    service = {
        "metadata": {"name": "blockyard"},
        "spec": {
            "serveConfigV2": "applications: []",
            "rayClusterConfig": {
                "workerGroupSpecs": [
                    {"groupName": "gateway", "maxReplicas": 4},
                    {"groupName": "replica", "maxReplicas": 8},
                ]
            },
        },
    }
    found = service_in(json.dumps({"items": [service]}))
    assert found is not None
    assert (found.name, found.replicas_max) == ("blockyard", 8)
    assert service_in(json.dumps({"items": [service, service]})) is None
