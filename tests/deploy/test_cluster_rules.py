"""The RayService is one that serves streams over upgrades, drains and a lost head.

Beside each rule stands the edit that breaks it and that everybody else takes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.deploy.cluster_rules import broken_rules
from tests.deploy.rendering import RENDERINGS, Manifest, groups, only, overlay

Change = Callable[[list[Manifest]], object]


@pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
def test_every_rule_holds(rendering: Callable[[], list[Manifest]]) -> None:
    assert broken_rules(rendering()) == []


def service(objects: list[Manifest]) -> Manifest:
    found: Manifest = only(objects, "RayService")["spec"]
    return found


def cluster(objects: list[Manifest]) -> Manifest:
    found: Manifest = service(objects)["rayClusterConfig"]
    return found


def head(objects: list[Manifest]) -> Manifest:
    found: Manifest = cluster(objects)["headGroupSpec"]
    return found


def stop_of_head(objects: list[Manifest]) -> Manifest:
    found: Manifest = head(objects)["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]
    return found


def spec(objects: list[Manifest], role: str) -> Manifest:
    found: Manifest = groups(objects)[role]["template"]["spec"]
    return found


def container(objects: list[Manifest], role: str) -> Manifest:
    found: Manifest = spec(objects, role)["containers"][0]
    return found


def drain_for(objects: list[Manifest], role: str, seconds: str) -> None:
    (variable,) = (e for e in container(objects, role)["env"] if e["name"] == "DRAIN_SECONDS")
    variable["value"] = seconds


def scale(objects: list[Manifest], kind: str) -> None:
    objects.append({"kind": kind, "metadata": {"name": "replica", "namespace": "blockyard"}})


PLANTS: dict[str, tuple[str, Change]] = {
    "an upgrade in parts": (
        "NewClusterWithIncrementalUpgrade",
        lambda o: service(o)["upgradeStrategy"].update(type="NewClusterWithIncrementalUpgrade"),
    ),
    "no upgrade at all": ("is None", lambda o: service(o)["upgradeStrategy"].update(type="None")),
    "an upgrade of the operator's choice": (
        "upgradeStrategy.type is None",
        lambda o: service(o).pop("upgradeStrategy"),
    ),
    "the old cluster goes before it is drained": (
        "rayClusterDeletionDelaySeconds 60",
        lambda o: service(o).update(rayClusterDeletionDelaySeconds=60),
    ),
    "the old cluster goes when the operator likes": (
        "rayClusterDeletionDelaySeconds 60",
        lambda o: service(o).pop("rayClusterDeletionDelaySeconds"),
    ),
    "the head serves": (
        "behind the Serve Service",
        lambda o: service(o).update(excludeHeadPodFromServeSvc=False),
    ),
    "the head has a CPU": (
        "the head has CPUs",
        lambda o: head(o)["rayStartParams"].update({"num-cpus": "2"}),
    ),
    "the head has as many CPUs as Ray finds": (
        "the head has CPUs",
        lambda o: head(o)["rayStartParams"].pop("num-cpus"),
    ),
    "the head goes first": (
        "the head goes after 10 s",
        lambda o: stop_of_head(o).update(exec={"command": ["sleep", "10"]}),
    ),
    "the head is killed while it waits": (
        "the head goes after 150 s",
        lambda o: head(o)["template"]["spec"].update(terminationGracePeriodSeconds=120),
    ),
    "the head waits for nobody": (
        "the head does not wait",
        lambda o: stop_of_head(o).update(exec={"command": ["true"]}),
    ),
    "Ray takes orders from all": (
        "open to whoever reaches them",
        lambda o: cluster(o)["authOptions"].update(mode="disabled"),
    ),
    "nothing is said of who orders": (
        "open to whoever reaches them",
        lambda o: cluster(o).pop("authOptions"),
    ),
    "a head forgets": ("kept nowhere", lambda o: cluster(o).pop("gcsFaultToleranceOptions")),
    "state in the clear": (
        "in the clear",
        lambda o: cluster(o)["gcsFaultToleranceOptions"].update(
            redisAddress="redis://blockyard-redis:6379"
        ),
    ),
    "a password for all to read": (
        "redisPassword comes from no Secret",
        lambda o: cluster(o)["gcsFaultToleranceOptions"].update(redisPassword={"value": "secret"}),
    ),
    "the control plane is killed while it drains": (
        "control-plane is killed after 30 s",
        lambda o: spec(o, "control-plane").update(terminationGracePeriodSeconds=30),
    ),
    "a gateway has Kubernetes's own grace": (
        "gateway is killed after 30 s",
        lambda o: spec(o, "gateway").pop("terminationGracePeriodSeconds"),
    ),
    "a replica waits for less than a drain": (
        "replica waits 120 s",
        lambda o: drain_for(o, "replica", "120"),
    ),
    "the drain grows and the pod does not": (
        "gateway waits 150 s for actors that drain for 600.0 s",
        lambda o: service(o).update(
            serveConfigV2=service(o)["serveConfigV2"].replace("drain_s: 120", "drain_s: 600")
        ),
    ),
    "a replica leaves at once": (
        "replica leaves without a drain",
        lambda o: container(o, "replica").pop("lifecycle"),
    ),
    "a replica is ready before it serves": (
        "replica is ready when",
        lambda o: container(o, "replica").pop("readinessProbe"),
    ),
    "a worker's port is called as the head's": (
        "gateway has ports ['serve-http']",
        lambda o: container(o, "gateway")["ports"][0].update(name="serve-http"),
    ),
    "fewer GPUs asked for than allowed": (
        "is limited to 2",
        lambda o: container(o, "replica")["resources"]["limits"].update({"nvidia.com/gpu": "2"}),
    ),
    "no GPU for a model on one": (
        "asks for None",
        lambda o: [r.pop("nvidia.com/gpu") for r in container(o, "replica")["resources"].values()],
    ),
    "nodes with GPUs are not for replicas": (
        "may not stand on a node with GPUs",
        lambda o: spec(o, "replica").pop("tolerations"),
    ),
    "nobody scales": (
        "nobody adds pods",
        lambda o: cluster(o).update(enableInTreeAutoscaling=False),
    ),
    "an old autoscaler": (
        "not v2",
        lambda o: cluster(o)["autoscalerOptions"].update(version="v1"),
    ),
    "two scalers": ("a ScaledObject beside", lambda o: scale(o, "ScaledObject")),
}


@pytest.mark.parametrize(("sentence", "change"), PLANTS.values(), ids=PLANTS)
def test_a_broken_rule_is_told(sentence: str, change: Change) -> None:
    objects = overlay("prod")
    change(objects)
    told = broken_rules(objects)
    assert any(sentence in one for one in told), told
