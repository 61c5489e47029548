"""What KubeRay's operator refuses although its CRD allows it.

An object that breaks one of these is stored, and then nothing happens: the
reason stands in an event that nobody reads. Read in the operator's validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.deploy.rendering import Manifest

NAME_LENGTH_MAX = 47  # the operator adds suffixes, and a Service's name ends at 63
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
UPGRADES = {"None", "NewCluster", "NewClusterWithIncrementalUpgrade"}
RESOURCE_PARAMETERS = {"num-cpus", "num-gpus", "memory", "resources"}


def broken_rules(service: Manifest) -> list[str]:
    """Sentences, one for each broken rule."""
    cluster = service["spec"]["rayClusterConfig"]
    named = [("head", cluster["headGroupSpec"])]
    named += [(group["groupName"], group) for group in cluster["workerGroupSpecs"]]
    return [
        *_of_the_service(service),
        *(sentence for name, group in named for sentence in _of_a_group(name, group)),
        *_of_workers(cluster),
        *_of_the_head(cluster),
        *_of_the_autoscaler(cluster, named),
    ]


def _of_the_service(service: Manifest) -> Iterator[str]:
    name = service["metadata"]["name"]
    if len(name) > NAME_LENGTH_MAX:
        yield f"the name {name} is longer than {NAME_LENGTH_MAX} characters"
    if not DNS_LABEL.fullmatch(name):
        yield f"the name {name} is no DNS label"
    upgrade = service["spec"].get("upgradeStrategy", {}).get("type", "NewCluster")
    if upgrade not in UPGRADES:
        yield f"upgradeStrategy.type {upgrade} is none of {sorted(UPGRADES)}"
    if service["spec"].get("rayClusterDeletionDelaySeconds", 0) < 0:
        yield "rayClusterDeletionDelaySeconds is negative"


def _of_a_group(name: str, group: Manifest) -> Iterator[str]:
    parameters = group.get("rayStartParams", {})
    if not group["template"]["spec"].get("containers"):
        yield f"{name} has no container"
    if "labels" in parameters:
        yield f"{name} has labels in rayStartParams; they belong beside it"
    if group.get("resources") and RESOURCE_PARAMETERS & parameters.keys():
        yield f"{name} has resources in rayStartParams and beside it"
    if not all(isinstance(value, str) for value in parameters.values()):
        yield f"{name} has a rayStartParam that is no string"


def _of_workers(cluster: Manifest) -> Iterator[str]:
    names = [group["groupName"] for group in cluster["workerGroupSpecs"]]
    if len(names) != len(set(names)):
        yield "two groups have one name"
    for group in cluster["workerGroupSpecs"]:
        least, now, most = group["minReplicas"], group["replicas"], group["maxReplicas"]
        if not least <= now <= most:
            yield f"{group['groupName']}: not minReplicas {least} <= {now} <= maxReplicas {most}"


def _of_the_head(cluster: Manifest) -> Iterator[str]:
    head = cluster["headGroupSpec"]
    environment = {e["name"] for e in head["template"]["spec"]["containers"][0].get("env", ())}
    if "gcsFaultToleranceOptions" in cluster:
        for name in ("REDIS_PASSWORD", "RAY_REDIS_ADDRESS"):
            if name in environment:
                yield f"{name} is in the head's environment beside gcsFaultToleranceOptions"
        if "redis-password" in head.get("rayStartParams", {}):
            yield "redis-password is in rayStartParams beside gcsFaultToleranceOptions"
    elif "RAY_REDIS_ADDRESS" in environment:
        yield "RAY_REDIS_ADDRESS without gcsFaultToleranceOptions"
    if "redis-username" in head.get("rayStartParams", {}) or "REDIS_USERNAME" in environment:
        yield "Redis's user belongs in gcsFaultToleranceOptions"


def _of_the_autoscaler(cluster: Manifest, groups: list[tuple[str, Manifest]]) -> Iterator[str]:
    if not cluster.get("enableInTreeAutoscaling"):
        return
    version = cluster.get("autoscalerOptions", {}).get("version")
    for name, group in groups:
        if group.get("suspend"):
            yield f"{name} is suspended, which the autoscaler cannot handle"
        policy = group["template"]["spec"].get("restartPolicy", "Never")
        if version == "v2" and policy != "Never":
            yield f"{name} has restartPolicy {policy}; autoscaler v2 wants Never"
