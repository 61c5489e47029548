"""How a cluster of Kubernetes stands: its pods by role, its Serve config, its policies.

Read from what kubectl prints, and asked by the members' names of a scenario:
`replica-0` is the first replica's pod in the order of names, and so on. Pods
that are being deleted are no members. Names of pods change when they are
deleted, so a name means what it meant when the cluster was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.chaos.faults import CLIENTS
from orchestrator.chaos.world import CannotDo

PART_OF = "app.kubernetes.io/part-of=blockyard"
ROLE = "blockyard/role"
ROLES: Mapping[str, str] = {
    "replica": "replica",
    "gateway": "gateway",
    "control": "control-plane",
    "redis": "redis",
}


@dataclass(frozen=True, slots=True)
class Pod:
    """One member's pod."""

    name: str
    role: str
    ip: str
    is_ready: bool

    @property
    def container(self) -> str:
        """The one that is the member."""
        return "redis" if self.role == "redis" else "ray-worker"


@dataclass(frozen=True, slots=True)
class Service:
    """The RayService: how many of what, and how many at most."""

    name: str
    serve_config: str
    replicas_max: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at a cluster."""

    pods: tuple[Pod, ...]
    service: Service | None = None
    has_policies: bool = False
    leader: str = ""  # its address, where somebody asked

    def of_role(self, role: str) -> tuple[Pod, ...]:
        """Its pods, by name."""
        return tuple(pod for pod in self.pods if pod.role == role)

    def ready(self) -> Mapping[str, int]:
        """How many pods of each role serve."""
        return {role: sum(pod.is_ready for pod in self.of_role(role)) for role in ROLES.values()}

    def member(self, name: str) -> tuple[Pod, ...]:
        """The pods that this name means; `node-N` means two. Raises CannotDo."""
        if name == "leader":
            return (self._leader(),)
        if name == CLIENTS:
            raise CannotDo(f"{CLIENTS}: they come from outside, where kubectl has no say")
        kind, _, number = name.partition("-")
        place = int(number or 0)
        if kind == "node":
            return (self._of_kind("replica", place), self._of_kind("gateway", place))
        return (self._of_kind(kind, place),)

    def _of_kind(self, kind: str, place: int) -> Pod:
        pods = self.of_role(ROLES[kind])
        if place >= len(pods):
            raise CannotDo(
                f"{kind}-{place}: the namespace has {len(pods)} pods {ROLE}={ROLES[kind]}"
            )
        return pods[place]

    def _leader(self) -> Pod:
        planes = self.of_role(ROLES["control"])
        host = self.leader.rpartition(":")[0]
        found = [pod for pod in planes if pod.ip == host] or list(planes[:1])
        if not found or (len(planes) > 1 and found[0].ip != host):
            raise CannotDo(f"leader: none of {len(planes)} control planes is at {self.leader!r}")
        return found[0]


def pods_in(text: str) -> tuple[Pod, ...]:
    """From `get pods --output json`."""
    items = json.loads(text)["items"]
    pods = [_pod(item) for item in items if _is_member(item)]
    return tuple(sorted(pods, key=lambda pod: (pod.role, pod.name)))


def service_in(text: str) -> Service | None:
    """From `get rayservices --output json`: the namespace's one RayService, if it has one."""
    items = json.loads(text)["items"]
    if len(items) != 1:
        return None
    spec = items[0]["spec"]
    groups = spec["rayClusterConfig"]["workerGroupSpecs"]
    most = [g["maxReplicas"] for g in groups if g["groupName"] == "replica"]
    return Service(items[0]["metadata"]["name"], spec["serveConfigV2"], sum(most))


def _is_member(item: Mapping[str, Any]) -> bool:
    metadata = item["metadata"]
    role = metadata.get("labels", {}).get(ROLE)
    return role in ROLES.values() and "deletionTimestamp" not in metadata


def _pod(item: Mapping[str, Any]) -> Pod:
    status = item.get("status", {})
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return Pod(
        name=item["metadata"]["name"],
        role=item["metadata"]["labels"][ROLE],
        ip=status.get("podIP", ""),
        is_ready=conditions.get("Ready") == "True",
    )
