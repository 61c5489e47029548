"""What objects call each other by, followed from one to the other.

Everything here is stored by an API server as it is, and then nothing happens
or the wrong thing does: a route to a port that no Service has, a budget over
pods that nobody can count. Each check takes all objects of a rendering and
yields sentences. Secrets are not followed: their owner makes them by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from grpc_health.v1 import health_pb2

from protos import inference_pb2
from tests.deploy.rendering import Manifest, groups, only, pods, selects

H2C = "kubernetes.io/h2c"
# What is spoken at each port of a Service.
PROTOCOLS = {"http": "http", "grpc": H2C, "control": H2C, "redis": "redis"}
ROUTES = {"HTTPRoute": "http", "GRPCRoute": H2C}
OURS = inference_pb2.DESCRIPTOR.services_by_name["Inference"]
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
SYSTEM_PRIORITY = 1_000_000_000  # Kubernetes's own classes begin above it


def broken_references(objects: list[Manifest]) -> list[str]:
    """Sentences, one for each."""
    checks = (of_routes, of_matches, of_services, of_monitors, of_priorities, of_spreads)
    return [s for check in (*checks, of_volumes, of_redis) for s in check(objects)]


def named(objects: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == kind}


def of_routes(objects: list[Manifest]) -> Iterator[str]:
    """Each hangs on a listener that takes it and leads to a port that speaks its protocol."""
    gateways, services = named(objects, "Gateway"), named(objects, "Service")
    for route in (o for o in objects if o["kind"] in ROUTES):
        for parent in route["spec"]["parentRefs"]:
            gateway = gateways.get(parent["name"], {"spec": {"listeners": []}})
            yield from _of_listener(route, parent, gateway["spec"]["listeners"])
        for backend in (b for rule in route["spec"]["rules"] for b in rule["backendRefs"]):
            offered = services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]
            protocols = [p.get("appProtocol") for p in offered if p["port"] == backend["port"]]
            if protocols != [ROUTES[route["kind"]]]:
                yield f"{route['kind']} leads to {backend}, where {protocols or 'nothing'} is"


def _of_listener(route: Manifest, parent: Manifest, listeners: list[Manifest]) -> Iterator[str]:
    taking = [
        listener
        for listener in listeners
        if listener["name"] == parent["sectionName"]
        and {"kind": route["kind"]} in listener["allowedRoutes"]["kinds"]
        and route["spec"]["hostnames"] == [listener["hostname"]]
    ]
    if not taking:
        yield f"no listener takes the {route['kind']} of {parent}"


def of_matches(objects: list[Manifest]) -> Iterator[str]:
    """The API is routed and nothing else, for as long as an answer streams."""
    for route in (o for o in objects if o["kind"] == "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            if rule.get("timeouts") != {"request": "0s", "backendRequest": "0s"}:
                yield f"the HTTPRoute cuts streams: timeouts {rule.get('timeouts')}"
            paths = [match["path"] for match in rule["matches"]]
            if paths != [{"type": "PathPrefix", "value": "/v1"}]:
                yield f"the HTTPRoute takes {paths}; the API is below /v1"
    for route in (o for o in objects if o["kind"] == "GRPCRoute"):
        yield from _of_methods([m for rule in route["spec"]["rules"] for m in rule["matches"]])


def _of_methods(matches: list[Manifest]) -> Iterator[str]:
    known = {service.full_name: service for service in (OURS, HEALTH)}
    whole = {m["method"]["service"] for m in matches if m["method"].keys() == {"service"}}
    if OURS.full_name not in whole:
        yield f"the GRPCRoute leaves out some of {OURS.full_name}"
    for method in (match["method"] for match in matches):
        service = known.get(method["service"])
        if service is None or method.get("method", "") not in {"", *service.methods_by_name}:
            yield f"the GRPCRoute matches {method}, which is none of {sorted(known)}"


def of_services(objects: list[Manifest]) -> Iterator[str]:
    """Each leads to one role's pods; a port of it to the one of its own name."""
    for name, service in named(objects, "Service").items():
        selector = {"matchLabels": service["spec"]["selector"]}
        chosen = [p for p in pods(objects) if selects(selector, p["metadata"]["labels"])]
        roles = {p["metadata"]["labels"].get("blockyard/role") for p in chosen}
        if roles != {service["metadata"]["labels"]["blockyard/role"]}:
            yield f"the Service {name} leads to {roles or 'nobody'}"
        opened = {port for one in chosen for port in _ports(one)}
        for port in service["spec"]["ports"]:
            if port["targetPort"] != port["name"] or port["name"] not in opened:
                yield f"{name}'s port {port['name']} leads to {port['targetPort']}, of {opened}"
            if port.get("appProtocol") != PROTOCOLS.get(port["name"]):
                yield f"{name}'s port {port['name']} is said to speak {port.get('appProtocol')}"


def of_monitors(objects: list[Manifest]) -> Iterator[str]:
    for name, monitor in named(objects, "PodMonitor").items():
        selector = monitor["spec"]["selector"]
        chosen = [p for p in pods(objects) if selects(selector, p["metadata"]["labels"])]
        opened = {port for one in chosen for port in _ports(one)}
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if endpoint["port"] not in opened:
                yield f"the PodMonitor {name} asks the port {endpoint['port']}, of {opened}"


def of_priorities(objects: list[Manifest]) -> Iterator[str]:
    """Every pod that serves has a class, of those that come with it."""
    values = {name: o["value"] for name, o in named(objects, "PriorityClass").items()}
    of_role = {}
    for one in (p for p in pods(objects) if p["metadata"]["labels"]["blockyard/role"] != "chaos"):
        role, name = one["metadata"]["labels"]["blockyard/role"], one["spec"]["priorityClassName"]
        if not values.get(name, SYSTEM_PRIORITY) < SYSTEM_PRIORITY:
            yield f"{role} has the priority class {name}, of {values}"
        of_role[role] = values.get(name, 0)
    lowest = of_role.pop("replica")
    if min(of_role.values()) <= lowest:
        yield f"a replica may push out what serves many replicas: {lowest} against {of_role}"


def of_spreads(objects: list[Manifest]) -> Iterator[str]:
    """Workers stand apart from those of their own role."""
    for role, group in groups(objects).items():
        template = group["template"]
        constraints = template["spec"].get("topologySpreadConstraints", [])
        if "kubernetes.io/hostname" not in {one["topologyKey"] for one in constraints}:
            yield f"{role}: nothing spreads it over nodes"
        for one in constraints:
            apart = {
                other
                for other, its in groups(objects).items()
                if selects(one["labelSelector"], its["template"]["metadata"]["labels"])
            }
            if apart != {role}:
                yield f"{role} is spread among {apart or 'nobody'}"


def of_volumes(objects: list[Manifest]) -> Iterator[str]:
    """Claims, texts and accounts of pods, and the Service that a StatefulSet's names hang on."""
    for one in pods(objects):
        wanted = [("ServiceAccount", one["spec"].get("serviceAccountName"))]
        for volume in one["spec"].get("volumes", ()):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            wanted += [
                ("PersistentVolumeClaim", claim),
                ("ConfigMap", volume.get("configMap", {}).get("name")),
            ]
        for kind, name in wanted:
            if name is not None and name not in named(objects, kind):
                yield f"{one['metadata']['name']} wants the {kind} {name}, which is not there"
    for name, stateful in named(objects, "StatefulSet").items():
        if stateful["spec"]["serviceName"] not in named(objects, "Service"):
            yield f"{name} wants the Service {stateful['spec']['serviceName']}"


def of_redis(objects: list[Manifest]) -> Iterator[str]:
    """Ray's own Redis, encrypted; one without a domain is a Service of this namespace."""
    options = only(objects, "RayService")["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    address = urlsplit(options["redisAddress"])
    service = named(objects, "Service").get(address.hostname or "")
    opened = [port["port"] for port in service["spec"]["ports"]] if service else []
    if address.scheme != "rediss":
        yield f"Ray speaks to Redis in the clear: {options['redisAddress']}"
    if "." not in (address.hostname or "") and address.port not in opened:
        yield f"no Service of these is {options['redisAddress']}"


def _ports(one: Manifest) -> dict[str, Any]:
    return {
        port["name"]: port["containerPort"]
        for container in one["spec"]["containers"]
        for port in container.get("ports", ())
    }
