"""Objects as a cluster would get them, from kustomize and from the chart.

Each rendering is made once and handed out as a copy that the caller may spoil.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY, run, said

Manifest = dict[str, Any]
OVERLAYS = ("dev", "prod")
CHART = DEPLOY / "helm" / "blockyard"
CHART_VALUES = {"dev": CHART / "ci" / "dev.yaml", "prod": CHART / "values.yaml"}


def overlay(name: str) -> list[Manifest]:
    return copy.deepcopy(_overlay(name))


def chart(values: Path, *settings: str) -> list[Manifest]:
    """The chart's objects in the overlays' namespace, without Helm's notes to itself."""
    return copy.deepcopy(_chart(values, *settings))


def parsed(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def written(objects: list[Manifest], path: Path) -> Path:
    path.write_text(yaml.safe_dump_all(objects))
    return path


def only(objects: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one object of that kind, or of that kind and name."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name or ''}"
    return found[0]


def by_name(objects: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(o["kind"], o["metadata"]["name"]): o for o in objects}


def pods(objects: list[Manifest]) -> list[Manifest]:
    """What runs: the pod templates of Ray groups and workloads, as Pods."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **template.get("metadata", {}),
                "name": name,
                "namespace": owner["metadata"]["namespace"],
            },
            "spec": template["spec"],
        }
        for owner in objects
        for name, template in _templates(owner)
    ]


def pod(objects: list[Manifest], role: str) -> Manifest:
    """The pod of that role."""
    (found,) = [p for p in pods(objects) if p["metadata"]["labels"]["blockyard/role"] == role]
    return found


def groups(objects: list[Manifest]) -> dict[str, Manifest]:
    """Ray's groups of workers, by name."""
    cluster = only(objects, "RayService")["spec"]["rayClusterConfig"]
    return {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector takes an object with these labels."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(_meets(labels, one) for one in selector.get("matchExpressions", ()))


def _meets(labels: dict[str, str], expression: Manifest) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case unknown:
            raise ValueError(f"no label selector knows the operator {unknown}")


@cache
def _chart(values: Path, *settings: str) -> list[Manifest]:
    sets = [word for setting in settings for word in ("--set", setting)]
    verdict = run("helm", "template", "blockyard", CHART, "-n", "blockyard", "-f", values, *sets)
    assert verdict.returncode == 0, said(verdict)
    return [without_notes(one) for one in parsed(verdict.stdout)]


def without_notes(resource: Manifest) -> Manifest:
    """As a cluster would understand it: annotations for Helm mean nothing to anybody else."""
    metadata = resource["metadata"]
    notes = metadata.pop("annotations", {})
    left = {key: value for key, value in notes.items() if not key.startswith("helm.sh/")}
    return {**resource, "metadata": {**metadata, **({"annotations": left} if left else {})}}


@cache
def _overlay(name: str) -> list[Manifest]:
    verdict = run("kubectl", "kustomize", DEPLOY / "overlays" / name)
    assert verdict.returncode == 0, said(verdict)
    return parsed(verdict.stdout)


def _templates(owner: Manifest) -> Iterator[tuple[str, Manifest]]:
    name = owner["metadata"]["name"]
    if owner["kind"] == "RayService":
        cluster = owner["spec"]["rayClusterConfig"]
        yield f"{name}-head", cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield f"{name}-{group['groupName']}", group["template"]
    elif owner["kind"] == "CronJob":
        yield name, owner["spec"]["jobTemplate"]["spec"]["template"]
    elif owner["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
        yield name, owner["spec"]["template"]


# Of the chart, all that can be asked for beside the defaults.
EVERYTHING = (
    "mtls.enabled=true",
    "chaos.enabled=true",
    "tracing.endpoint=http://collector.observability:4317",
    "modelStore.enabled=true",
    "serve.model=s3://bucket/llama",
    "serve.drain_s=600",
)
# Of the chart, what is somebody else's or decided by load.
ELSEWHERE = (
    "redis.enabled=false",
    "redis.address=rediss://redis.example.com:6380",
    "redis.ports={6380,26379}",
    "redis.peers[0].ipBlock.cidr=10.20.0.0/24",
    "networkPolicy.clientCidrs={10.0.0.0/8}",
    "networkPolicy.apiServerPorts={8443}",
    "serve.minReplicas=2",
    "serve.maxReplicas=6",
)
RENDERINGS: dict[str, Callable[[], list[Manifest]]] = {
    "overlay-dev": partial(overlay, "dev"),
    "overlay-prod": partial(overlay, "prod"),
    "chart-dev": partial(chart, CHART_VALUES["dev"]),
    "chart-prod": partial(chart, CHART_VALUES["prod"]),
    "chart-everything": partial(chart, CHART_VALUES["prod"], *EVERYTHING),
    "chart-elsewhere": partial(chart, CHART_VALUES["prod"], *ELSEWHERE),
}
