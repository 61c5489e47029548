"""Objects find each other, in both overlays and in the chart however it is set.

Beside each check stand the mistakes that it must find, planted one at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.deploy.references import broken_references
from tests.deploy.rendering import EVERYTHING, RENDERINGS, Manifest, groups, only, overlay, pod

Change = Callable[[list[Manifest]], object]


@pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
def test_every_reference_leads_somewhere(rendering: Callable[[], list[Manifest]]) -> None:
    assert broken_references(rendering()) == []


def rule(objects: list[Manifest], kind: str) -> Manifest:
    found: Manifest = only(objects, kind)["spec"]["rules"][0]
    return found


def ports(objects: list[Manifest], service: str = "blockyard-gateway") -> list[Manifest]:
    found: list[Manifest] = only(objects, "Service", service)["spec"]["ports"]
    return found


def swap_targets(objects: list[Manifest]) -> None:
    http, grpc = ports(objects)
    http["targetPort"], grpc["targetPort"] = grpc["targetPort"], http["targetPort"]


def spread(objects: list[Manifest], role: str) -> Manifest:
    template = groups(objects)[role]["template"]
    found: Manifest = template["spec"]["topologySpreadConstraints"][0]
    return found


def method(objects: list[Manifest]) -> Manifest:
    found: Manifest = rule(objects, "GRPCRoute")["matches"][0]["method"]
    return found


def redis_options(objects: list[Manifest]) -> Manifest:
    cluster = only(objects, "RayService")["spec"]["rayClusterConfig"]
    found: Manifest = cluster["gcsFaultToleranceOptions"]
    return found


PLANTS: dict[str, tuple[str, Change]] = {
    "HTTP goes to a port that the Service lacks": (
        "HTTPRoute leads to",
        lambda o: rule(o, "HTTPRoute")["backendRefs"][0].update(port=8080),
    ),
    "HTTP goes to the port of gRPC": (
        "HTTPRoute leads to",
        lambda o: rule(o, "HTTPRoute")["backendRefs"][0].update(port=8801),
    ),
    "gRPC goes to a Service that is not there": (
        "GRPCRoute leads to",
        lambda o: rule(o, "GRPCRoute")["backendRefs"][0].update(name="blockyard-grpc"),
    ),
    "gRPC goes to the port of HTTP": (
        "GRPCRoute leads to",
        lambda o: rule(o, "GRPCRoute")["backendRefs"][0].update(port=80),
    ),
    "a route hangs on no listener": (
        "no listener takes the HTTPRoute",
        lambda o: only(o, "HTTPRoute")["spec"]["parentRefs"][0].update(sectionName="https"),
    ),
    "a route hangs on no Gateway": (
        "no listener takes the GRPCRoute",
        lambda o: only(o, "GRPCRoute")["spec"]["parentRefs"][0].update(name="cluster"),
    ),
    "a route has the host of the other": (
        "no listener takes the GRPCRoute",
        lambda o: only(o, "GRPCRoute")["spec"].update(hostnames=["llm.example.com"]),
    ),
    "a listener takes no route of gRPC": (
        "no listener takes the GRPCRoute",
        lambda o: only(o, "Gateway")["spec"]["listeners"][1]["allowedRoutes"].update(
            kinds=[{"kind": "HTTPRoute"}]
        ),
    ),
    "streams are cut": (
        "cuts streams",
        lambda o: rule(o, "HTTPRoute")["timeouts"].update(request="30s"),
    ),
    "streams are cut behind the Gateway": (
        "cuts streams",
        lambda o: rule(o, "HTTPRoute")["timeouts"].update(backendRequest="60s"),
    ),
    "streams last as long as the Gateway likes": (
        "cuts streams",
        lambda o: rule(o, "HTTPRoute").pop("timeouts"),
    ),
    "metrics are for everybody": (
        "the API is below /v1",
        lambda o: rule(o, "HTTPRoute")["matches"][0]["path"].update(value="/"),
    ),
    "a service of another version": (
        "which is none of",
        lambda o: method(o).update(service="blockyard.inference.v2.Inference"),
    ),
    "a method that is not there": (
        "which is none of",
        lambda o: rule(o, "GRPCRoute")["matches"].append(
            {"method": {"service": "blockyard.inference.v1.Inference", "method": "Complete"}}
        ),
    ),
    "one method is routed, the others are not": (
        "leaves out some of",
        lambda o: method(o).update(method="Generate"),
    ),
    "HTTP goes to the listener of gRPC": ("http leads to grpc", swap_targets),
    "a port that no pod names": (
        "http leads to 8000",
        lambda o: ports(o)[0].update(targetPort=8000),
    ),
    "gRPC is said to be HTTP/1": (
        "grpc is said to speak http",
        lambda o: ports(o)[1].update(appProtocol="http"),
    ),
    "HTTP is said to be gRPC": (
        "http is said to speak kubernetes.io/h2c",
        lambda o: ports(o)[0].update(appProtocol="kubernetes.io/h2c"),
    ),
    "nothing is said of what the control plane speaks": (
        "control is said to speak None",
        lambda o: ports(o, "blockyard-control-plane")[0].pop("appProtocol"),
    ),
    "a Service leads to another role": (
        "the Service blockyard-gateway leads to {'replica'}",
        lambda o: only(o, "Service", "blockyard-gateway")["spec"]["selector"].update(
            {"blockyard/role": "replica"}
        ),
    ),
    "a Service leads to every role": (
        "the Service blockyard-redis leads to",
        lambda o: only(o, "Service", "blockyard-redis")["spec"]["selector"].pop("blockyard/role"),
    ),
    "Prometheus asks a port that is not there": (
        "the PodMonitor blockyard-gateway asks the port web",
        lambda o: only(o, "PodMonitor", "blockyard-gateway")["spec"]["podMetricsEndpoints"][
            0
        ].update(port="web"),
    ),
    "a priority class that is not there": (
        "control-plane has the priority class blockyard-fronts",
        lambda o: groups(o)["control-plane"]["template"]["spec"].update(
            priorityClassName="blockyard-fronts"
        ),
    ),
    "replicas push out gateways": (
        "push out what serves many",
        lambda o: only(o, "PriorityClass", "blockyard-replica").update(value=200000),
    ),
    "a class above the system's": (
        "head has the priority class",
        lambda o: only(o, "PriorityClass", "blockyard-front").update(value=2_000_000_000),
    ),
    "replicas are spread among gateways": (
        "replica is spread among {'gateway'}",
        lambda o: spread(o, "replica")["labelSelector"]["matchLabels"].update(
            {"blockyard/role": "gateway"}
        ),
    ),
    "gateways are spread among nobody": (
        "gateway is spread among nobody",
        lambda o: spread(o, "gateway")["labelSelector"]["matchLabels"].update({"a": "b"}),
    ),
    "nothing spreads the control planes": (
        "control-plane: nothing spreads it",
        lambda o: spread(o, "control-plane").update(topologyKey="topology.kubernetes.io/zone"),
    ),
    "a claim of another name": (
        "wants the PersistentVolumeClaim blockyard-models",
        lambda o: only(o, "PersistentVolumeClaim")["metadata"].update(name="models"),
    ),
    "a text of another name": (
        "wants the ConfigMap blockyard-redis-config",
        lambda o: only(o, "ConfigMap", "blockyard-redis-config")["metadata"].update(name="redis"),
    ),
    "an account that is not there": (
        "wants the ServiceAccount ray",
        lambda o: pod(o, "head")["spec"].update(serviceAccountName="ray"),
    ),
    "a StatefulSet without its Service": (
        "wants the Service redis",
        lambda o: only(o, "StatefulSet")["spec"].update(serviceName="redis"),
    ),
    "Ray looks for Redis elsewhere": (
        "no Service of these is rediss://redis:6379",
        lambda o: redis_options(o).update(redisAddress="rediss://redis:6379"),
    ),
    "Ray looks for Redis at another port": (
        "no Service of these is",
        lambda o: redis_options(o).update(redisAddress="rediss://blockyard-redis:6380"),
    ),
    "Ray speaks to Redis in the clear": (
        "in the clear",
        lambda o: redis_options(o).update(redisAddress="redis://blockyard-redis:6379"),
    ),
}


@pytest.mark.parametrize(("sentence", "change"), PLANTS.values(), ids=PLANTS)
def test_a_reference_that_leads_nowhere_is_told(sentence: str, change: Change) -> None:
    objects = overlay("prod")
    change(objects)
    told = broken_references(objects)
    assert any(sentence in one for one in told), told


def test_what_is_asked_for_beside_the_defaults_is_rendered() -> None:
    """Otherwise the last rendering would say no more than the one before."""
    everything = {(o["kind"], o["metadata"]["name"]) for o in RENDERINGS["chart-everything"]()}
    wanted = {("Certificate", "blockyard-internal"), ("CronJob", "blockyard-chaos")}
    wanted |= {("NetworkPolicy", name) for name in ("models-from-store", "spans-to-collector")}
    assert wanted <= everything
    assert len(EVERYTHING) > len(wanted)
