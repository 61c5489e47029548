"""Prod is closed but for the ways of this table: a way more is a hole, a way less a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.deploy.network_ways import ways
from tests.deploy.rendering import RENDERINGS, Manifest, only, overlay

IN = "namespaces kubernetes.io/metadata.name="
WAYS = {
    "anybody <- nobody",
    "anybody -> nobody",
    f"anybody -> {IN}kube-system: 53/TCP 53/UDP",
    "ray <- ray: any",  # of this namespace only; Ray chooses ports
    "ray -> ray: any",
    "ray -> redis: redis",
    "redis <- ray: redis",
    "gateway <- namespaces blockyard/clients=true: grpc http",
    f"head <- {IN}kuberay-system: dashboard serve",
    "head -> anywhere: 443/TCP 6443/TCP",  # the API server, for the autoscaler
    f"ours <- {IN}monitoring: as-metrics dash-metrics http metrics moves",
}
WHERE_ASKED_FOR = {
    "chaos -> gateway: http",
    "chaos -> control-plane: control",
    "chaos -> anywhere: 443/TCP 6443/TCP",
    "gateway <- chaos: http",
    "control-plane <- chaos: control",
    "gateway,model-fetch,replica -> anywhere: 443/TCP",
    f"gateway,replica -> {IN}observability: 4317/TCP",
}

REDIS = {"ray -> redis: redis", "redis <- ray: redis"}
API_SERVER = {"head -> anywhere: 443/TCP 6443/TCP"}
ELSEWHERE = {
    "ray -> {'ipBlock': {'cidr': '10.20.0.0/24'}}: 26379/TCP 6380/TCP",
    "gateway <- {'ipBlock': {'cidr': '10.0.0.0/8'}}: grpc http",
    "head -> anywhere: 8443/TCP",
}


@pytest.mark.parametrize(
    ("rendering", "expected"),
    [
        ("overlay-prod", WAYS),
        ("chart-elsewhere", WAYS - REDIS - API_SERVER | ELSEWHERE),
        ("chart-prod", WAYS),
        ("chart-everything", WAYS | WHERE_ASKED_FOR),
        ("overlay-dev", set()),
        ("chart-dev", set()),
    ],
)
def test_the_ways_are_those_of_the_table(rendering: str, expected: set[str]) -> None:
    assert ways(RENDERINGS[rendering]()) == expected


def test_no_pod_has_a_role_that_the_table_does_not_know() -> None:
    """A way to pods of an unknown role would read as one to nobody."""
    for rendering in RENDERINGS.values():
        assert not any("nobody:" in way for way in ways(rendering()))


Change = Callable[[Manifest], object]


def peer(policy: Manifest) -> Manifest:
    """The one at the other end of its first way."""
    rule = (policy.get("ingress") or policy["egress"])[0]
    found: Manifest = (rule.get("from") or rule["to"])[0]
    return found


def more_ports(policy: Manifest) -> None:
    policy["ingress"][0]["ports"].append({"port": 8803, "protocol": "TCP"})


def in_any_namespace(policy: Manifest) -> None:
    peer(policy)["namespaceSelector"] = {}


def whoever_is_called_so(policy: Manifest) -> None:
    del policy["podSelector"]["matchLabels"]["app.kubernetes.io/part-of"]


PLANTS: dict[str, tuple[str, Change]] = {
    "names are looked up by one protocol": (
        "all-to-dns",
        lambda policy: policy["egress"][0]["ports"].pop(),
    ),
    "names are looked up elsewhere": (
        "all-to-dns",
        lambda policy: peer(policy)["namespaceSelector"].update(matchLabels={"a": "b"}),
    ),
    "names are looked up by Ray only": (
        "all-to-dns",
        lambda policy: policy.update(podSelector={"matchLabels": {"blockyard/role": "head"}}),
    ),
    "the door is closed one way only": ("deny-all", lambda policy: policy["policyTypes"].pop()),
    "Ray is joined from other namespaces": ("ray-to-ray", in_any_namespace),
    "Ray is joined by strangers": (
        "ray-to-ray",
        lambda policy: policy["ingress"][0].update({"from": [{"podSelector": {}}]}),
    ),
    "Ray is joined by all but its own": (
        "ray-to-ray",
        lambda policy: peer(policy)["podSelector"]["matchExpressions"][0].update(operator="NotIn"),
    ),
    "Redis at a port that it has not": (
        "ray-to-redis",
        lambda policy: policy["egress"][0]["ports"][0].update(port=6380),
    ),
    "Redis is open to gateways only": (
        "redis-from-ray",
        lambda policy: peer(policy)["podSelector"]["matchExpressions"][0].update(
            values=["gateway"]
        ),
    ),
    "clients by another label": (
        "gateway-from-clients",
        lambda policy: peer(policy)["namespaceSelector"].update(matchLabels={"clients": "true"}),
    ),
    "clients reach members": ("gateway-from-clients", more_ports),
    "clients reach all ports above": (
        "gateway-from-clients",
        lambda policy: policy["ingress"][0]["ports"][1].update(endPort=8999),
    ),
    "clients of somebody else's gateways": ("gateway-from-clients", whoever_is_called_so),
    "the operator cannot ask the dashboard": (
        "head-from-operator",
        lambda policy: policy["ingress"][0]["ports"].pop(0),
    ),
    "the dashboard is open to all": (
        "head-from-operator",
        lambda policy: policy["ingress"][0].pop("from"),
    ),
    "the autoscaler cannot ask the API server": (
        "head-to-api-server",
        lambda policy: policy["podSelector"]["matchLabels"].update({"blockyard/role": "replica"}),
    ),
    "whoever likes speaks to the world": (
        "head-to-api-server",
        lambda policy: policy.update(podSelector={}),
    ),
    "the head speaks to the world": (
        "head-to-api-server",
        lambda policy: policy["egress"][0].pop("ports"),
    ),
    "Prometheus of another name": (
        "metrics-from-prometheus",
        lambda policy: peer(policy)["namespaceSelector"]["matchLabels"].update(
            {"kubernetes.io/metadata.name": "prometheus"}
        ),
    ),
    "moves are not counted": (
        "metrics-from-prometheus",
        lambda policy: policy["ingress"][0]["ports"].pop(1),
    ),
}


@pytest.mark.parametrize(("name", "change"), PLANTS.values(), ids=PLANTS)
def test_a_policy_that_is_too_wide_or_too_narrow_is_seen(name: str, change: Change) -> None:
    objects = overlay("prod")
    change(only(objects, "NetworkPolicy", name)["spec"])
    assert ways(objects) != WAYS
