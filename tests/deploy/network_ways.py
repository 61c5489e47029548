"""Network policies read as the ways that they leave open, one sentence each.

`redis <- head,gateway: redis` says who is reached from where at which port; an
arrow to the right is a way out. A selector is tried on every role's labels, on
a stranger's of the same namespace and on those of somebody else who happens to
use our word for a role, so that one that selects too many is seen. Ports have
the names that pods give them; those of nobody here are numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.deploy.rendering import Manifest, pods, selects

RAY = ("head", "gateway", "control-plane", "replica")
OURS = (*RAY, "redis", "chaos", "model-fetch")
LABELS: dict[str, dict[str, str]] = {
    **{role: {"app.kubernetes.io/part-of": "blockyard", "blockyard/role": role} for role in OURS},
    "strangers": {},
    "namesakes": {"blockyard/role": "gateway"},
}
GROUPS = {frozenset(RAY): "ray", frozenset(OURS): "ours", frozenset(LABELS): "anybody"}
ARROWS = {"ingress": "<-", "egress": "->"}
Ports = dict[str, dict[int, str]]


def ways(objects: list[Manifest]) -> set[str]:
    """All that the policies say, closing included."""
    named = _named_ports(objects)
    policies = (o["spec"] for o in objects if o["kind"] == "NetworkPolicy")
    return {way for policy in policies for way in _of_policy(policy, named)}


def _of_policy(policy: Manifest, named: Ports) -> Iterator[str]:
    subject = _roles(policy["podSelector"])
    for direction in map(str.lower, policy["policyTypes"]):
        rules = policy.get(direction, [])
        for rule in rules:
            yield from _of_rule(subject, direction, rule, named)
        if not rules:
            yield f"{_name(subject)} {ARROWS[direction]} nobody"


def _of_rule(subject: frozenset[str], way: str, rule: Manifest, named: Ports) -> Iterator[str]:
    peers = rule.get("from" if way == "ingress" else "to")
    for peer in peers or [None]:
        is_here = peer is not None and peer.keys() == {"podSelector"}
        beyond = _roles(peer["podSelector"]) if is_here else frozenset[str]()
        target = subject if way == "ingress" else beyond
        ports = sorted(_port(port, target, named) for port in rule.get("ports", ())) or ["any"]
        whom = _name(beyond) if is_here else _elsewhere(peer)
        yield f"{_name(subject)} {ARROWS[way]} {whom}: {' '.join(ports)}"


def _roles(selector: Manifest) -> frozenset[str]:
    return frozenset(role for role, labels in LABELS.items() if selects(selector, labels))


def _name(roles: frozenset[str]) -> str:
    return GROUPS.get(roles) or ",".join(sorted(roles)) or "nobody"


def _elsewhere(peer: Manifest | None) -> str:
    """A namespace by its labels; whatever else a peer says is shown as it is."""
    if peer is None:
        return "anywhere"
    if peer.keys() != {"namespaceSelector"} or peer["namespaceSelector"].keys() != {"matchLabels"}:
        return str(peer)
    labels: dict[str, str] = peer["namespaceSelector"]["matchLabels"]
    return "namespaces " + ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _port(port: Manifest, roles: frozenset[str], named: Ports) -> str:
    if not port.keys() <= {"port", "protocol"}:
        return str(port)
    names = {named.get(role, {}).get(port.get("port", 0)) for role in roles} - {None}
    protocol = port.get("protocol", "TCP")
    if len(names) == 1 and protocol == "TCP":
        return str(*names)
    return f"{port.get('port', 'any')}/{protocol}"


def _named_ports(objects: list[Manifest]) -> Ports:
    return {
        one["metadata"]["labels"]["blockyard/role"]: {
            port["containerPort"]: port["name"]
            for container in one["spec"]["containers"]
            for port in container.get("ports", ())
        }
        for one in pods(objects)
    }
