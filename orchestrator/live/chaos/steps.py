"""A fault as steps of kubectl commands: pure, from how the cluster stands.

The commands of a step run at once; the next step waits for them, then for some
seconds, then, where it says so, until as many pods serve as before. What this
cluster has no way to do raises CannotDo with the reason, so a run can plan all
of its faults before it begins with the first.

- A process is reached by `exec` in its pod, a pod by deleting it: Serve or the
  operator put a new one in its place as soon as they can, not after the fault's
  own `seconds`.
- Delay, loss and broken connections are made by tc and ss in an ephemeral
  container beside the member, which needs an image and a namespace that lets
  it have NET_ADMIN. So are parted members where policies exist already: one
  policy cannot take away what another one allows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.chaos.faults import (
    Break,
    Delay,
    FailOver,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Scale,
    Skew,
    Slow,
)
from orchestrator.chaos.world import CannotDo
from orchestrator.live.chaos import in_pod
from orchestrator.live.chaos.kubectl import Command, KubectlOptions, Permission
from orchestrator.live.chaos.standing import Pod, Service, Standing

MARK = "blockyard/chaos"  # the label of whatever we leave in a namespace
# Of the two verbs kubectl's protocol decides: a WebSocket begins as a GET.
EXEC = (Permission("create", "pods", "exec"), Permission("get", "pods", "exec"))
DELETE_POD = (Permission("delete", "pods"),)
LABEL_POD = (Permission("patch", "pods"),)
BESIDE_POD = (
    Permission("patch", "pods", "ephemeralcontainers"),
    Permission("create", "pods", "attach"),
    Permission("get", "pods", "attach"),
    Permission("get", "pods", "log"),
)
POLICIES = "networkpolicies.networking.k8s.io"
MAKE_POLICY = (Permission("create", POLICIES),)
DROP_POLICY = (Permission("list", POLICIES), Permission("delete", POLICIES))
PATCH_SERVICE = (Permission("patch", "rayservices.ray.io"),)
GRACE_S = 300.0  # of a pod that drains: deploy/ gives 180
MARGIN_S = 30.0  # for kubectl and the API server, on top of what a script takes
OVER = "blockyard-chaos-over"
NET_ADMIN = {
    "securityContext": {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    }
}


@dataclass(frozen=True, slots=True)
class Step:
    """Commands that run at once, and what is waited for after them."""

    commands: tuple[Command, ...]
    then_s: float = 0.0
    until_ready: bool = False


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans faults for one namespace. `run_id` names what this run leaves in it."""

    options: KubectlOptions
    run_id: str

    def steps(self, fault: Fault, standing: Standing) -> tuple[Step, ...]:
        """What makes it happen and ends it. Raises CannotDo."""
        match fault:
            case Kill(who):
                return (_ready(map(_kill(who), standing.member(who))),)
            case Pause(who, seconds):
                return (_ready(self._pause(pod, seconds) for pod in standing.member(who)),)
            case Slow(who, times, seconds):
                return (_ready(self._slow(pod, times, seconds) for pod in standing.member(who)),)
            case Restart(names):
                pods = [pod for name in names for pod in standing.member(name)]
                return tuple(_ready([delete_gently(pod)]) for pod in pods)
            case Flush():
                return (Step((_flush(standing),)),)
            case Delay(one, other, delay_s, seconds):
                netem = f"delay {round(delay_s * 1000)}ms"
                return (self._disturbed(standing, one, other, netem, seconds),)
            case Loss(one, other, share, seconds):
                netem = f"loss {share:.2%}"
                return (self._disturbed(standing, one, other, netem, seconds),)
            case Part(one, other, seconds):
                return self._parted(standing, one, other, seconds)
            case Break(one, other):
                pairs = _pairs(standing, one, other)
                return (Step(tuple(self._beside(a, in_pod.cut(b.ip), 0.0) for a, b in pairs)),)
            case Scale(replicas):
                return (scaled(standing.service, replicas),)
            case FailOver():
                raise CannotDo("fail-over: this Redis has no replica that could take its place")
            case Skew():
                raise CannotDo("skew: containers share the clock of their node")

    def _pause(self, pod: Pod, seconds: float) -> Command:
        if pod.role == "redis":  # its process is the first one, which no signal from inside stops
            return self._beside(pod, in_pod.disturb_all("loss 100%", seconds), seconds)
        return execute(pod, in_pod.pause(seconds), seconds)

    def _slow(self, pod: Pod, times: float, seconds: float) -> Command:
        if pod.role == "redis":  # an answer takes about a millisecond
            netem = f"delay {max(1, round(times - 1))}ms"
            return self._beside(pod, in_pod.disturb_all(netem, seconds), seconds)
        return execute(pod, in_pod.slow(times, seconds), seconds)

    def _disturbed(
        self, standing: Standing, one: str, other: str, netem: str, seconds: float
    ) -> Step:
        """Both ways between them."""
        pairs = _pairs(standing, one, other)
        ways = [way for a, b in pairs for way in ((a, b.ip), (b, a.ip))]
        return _ready(
            self._beside(pod, in_pod.disturb(netem, ip, seconds), seconds) for pod, ip in ways
        )

    def _parted(self, standing: Standing, one: str, other: str, seconds: float) -> tuple[Step, ...]:
        if self.options.netem_image is not None:
            return (self._disturbed(standing, one, other, "loss 100%", seconds),)
        if standing.has_policies:
            raise CannotDo(
                "part: the namespace has network policies, and what they allow no other takes "
                "away; it needs an image with tc (--netem-image)"
            )
        ones, others = standing.member(one), standing.member(other)
        key = f"{MARK}-{self.run_id}"
        labels = [label(pod, f"{key}=one") for pod in ones]
        labels += [label(pod, f"{key}=other") for pod in others]
        return (
            Step(tuple(labels)),
            Step((self._policies(key),), then_s=seconds),
            Step((forget_policies(), *(label(pod, f"{key}-") for pod in (*ones, *others)))),
        )

    def _policies(self, key: str) -> Command:
        """Neither lets the other in; everybody else may come as before."""
        items = [
            self._policy(key, mine="one", theirs="other"),
            self._policy(key, mine="other", theirs="one"),
        ]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        return Command(("create", "--filename", "-"), MAKE_POLICY, stdin=manifest)

    def _policy(self, key: str, *, mine: str, theirs: str) -> dict[str, Any]:
        elsewhere = {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": [self.options.namespace],
        }
        stranger = {"key": key, "operator": "NotIn", "values": [theirs]}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": f"blockyard-chaos-{self.run_id}-{mine}",
                "labels": {MARK: self.run_id},
            },
            "spec": {
                "podSelector": {"matchLabels": {key: mine}},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [
                            {"podSelector": {"matchExpressions": [stranger]}},
                            {"namespaceSelector": {"matchExpressions": [elsewhere]}},
                        ]
                    }
                ],
            },
        }

    def _beside(self, pod: Pod, script: str, seconds: float) -> Command:
        """In a container of its own that shares the pod's network."""
        image = self.options.netem_image
        if image is None:
            raise CannotDo(
                f"the network of {pod.name} can only be disturbed from beside it: "
                "name an image with tc and ss (--netem-image)"
            )
        words = (
            *("debug", pod.name, "--image", image, "--profile", "netadmin"),
            *("--custom", "/dev/stdin", "--attach", "--quiet", "--", "sh", "-c"),
            f"{script} && echo {OVER}",
        )
        return Command(words, BESIDE_POD, json.dumps(NET_ADMIN), seconds + MARGIN_S, OVER)


# ---- commands


def execute(pod: Pod, script: str, seconds: float = 0.0) -> Command:
    words = ("exec", pod.name, "--container", pod.container, "--", "sh", "-c", script)
    return Command(words, EXEC, within_s=seconds + MARGIN_S)


def run_python(pod: Pod, text: str) -> Command:
    words = ("exec", pod.name, "--container", pod.container, "--", "python", "-c", text)
    return Command(words, EXEC)


def delete_at_once(pod: Pod) -> Command:
    words = ("delete", "pod", pod.name, "--grace-period=0", "--force", "--wait=false")
    return Command(words, DELETE_POD)


def delete_gently(pod: Pod) -> Command:
    """As a drained node does it: its hook runs, and it is gone when this ends."""
    words = ("delete", "pod", pod.name, "--wait=true", f"--timeout={GRACE_S:g}s")
    return Command(words, DELETE_POD, within_s=GRACE_S + MARGIN_S)


def label(pod: Pod, change: str) -> Command:
    return Command(("label", "pod", pod.name, change, "--overwrite"), LABEL_POD)


def forget_policies() -> Command:
    """Also those of a run that was killed."""
    return Command(("delete", "networkpolicies", "--selector", MARK), DROP_POLICY)


def configured(service: Service, serve_config: str) -> Command:
    change = {"spec": {"serveConfigV2": serve_config}}
    words = ("patch", "rayservice", service.name, "--type", "merge", "--patch", json.dumps(change))
    return Command(words, PATCH_SERVICE)


def scaled(service: Service | None, replicas: int) -> Step:
    if service is None:
        raise CannotDo("scale: the namespace has not exactly one RayService")
    if replicas > service.replicas_max:
        raise CannotDo(f"scale: the group `replica` has at most {service.replicas_max} pods")
    config = yaml.safe_load(service.serve_config)
    for application in config["applications"]:
        for deployment in application.get("deployments", ()):
            if deployment["name"] == "replica" and "num_replicas" in deployment:
                deployment["num_replicas"] = replicas
                text = yaml.safe_dump(config, sort_keys=False)
                return Step((configured(service, text),))
    raise CannotDo("scale: the Serve config leaves the number of replicas to their load")


# ---- leaves


def _kill(who: str) -> Callable[[Pod], Command]:
    """A node takes its pods along; elsewhere the process dies and its pod stays."""

    def command(pod: Pod) -> Command:
        if who.startswith("node-") or pod.role == "redis":
            return delete_at_once(pod)
        return execute(pod, in_pod.kill())

    return command


def _flush(standing: Standing) -> Command:
    planes = standing.of_role("control-plane")
    if not planes:
        raise CannotDo("flush: no control plane's pod is there to do it")
    return run_python(planes[0], in_pod.FLUSH)


def _pairs(standing: Standing, one: str, other: str) -> list[tuple[Pod, Pod]]:
    return [(a, b) for a in standing.member(one) for b in standing.member(other)]


def _ready(commands: Iterable[Command]) -> Step:
    return Step(tuple(commands), until_ready=True)
