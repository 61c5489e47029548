"""What brings a model, a Job or a pod to copy by hand: replicas find and may read what comes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.live.commands.model import fetch
from tests.deploy.rendering import (
    CHART_VALUES,
    Manifest,
    chart,
    only,
    pod,
    pods,
    selects,
    written,
)
from tests.deploy.serve_config import deployment
from tests.deploy.test_manifests import checked, judged
from tests.deploy.test_model_store import SETTINGS
from tests.deploy.test_security import too_open
from tests.deploy.tools import DEPLOY
from tests.deploy.user_overlays import rendered

BY_HAND = DEPLOY / "model-fetch" / "by-hand"


@pytest.fixture
def objects() -> list[Manifest]:
    return rendered(DEPLOY / "model-fetch")


@pytest.fixture
def fetching(objects: list[Manifest]) -> dict[str, Any]:
    """The pod."""
    return pod(objects, "model-fetch")


def test_kubernetes_knows_every_field(objects: list[Manifest], tmp_path: Path) -> None:
    assert judged(objects, tmp_path) == (0, "")


def test_its_pod_keeps_to_the_restricted_level(objects: list[Manifest], tmp_path: Path) -> None:
    assert [too_open(one["spec"]) for one in pods(objects)] == [[]]
    verdict = checked(written([*objects, *pods(objects)], tmp_path / "fetch.yaml"))
    assert verdict[0] == 0, verdict[1]


def test_it_fetches_what_it_is_told_to_where_replicas_look(
    objects: list[Manifest], fetching: dict[str, Any]
) -> None:
    served = deployment(only(chart(CHART_VALUES["prod"], *SETTINGS), "RayService"))
    container = fetching["spec"]["containers"][0]
    assert container["command"][:3] == ["blockyard", "model", "fetch"]
    words = fetch.make_context("fetch", container["command"][3:]).params
    assert words["cache"] == served.model_cache
    assert words["checksums"] == "required"
    (told,) = container["env"]
    assert words["url"] == f"env:{told['name']}"
    source = told["valueFrom"]["configMapKeyRef"]
    assert only(objects, "ConfigMap", source["name"])["data"][source["key"]] == served.model


def test_it_writes_to_the_volume_and_has_the_credentials_of_those_who_serve(
    fetching: dict[str, Any],
) -> None:
    replica = pod(chart(CHART_VALUES["prod"], *SETTINGS), "replica")
    for one in (replica, fetching):
        (mount,) = (
            m for m in one["spec"]["containers"][0]["volumeMounts"] if m["name"] == "models"
        )
        assert mount == {"name": "models", "mountPath": "/models"}
        (volume,) = (v for v in one["spec"]["volumes"] if v["name"] == "models")
        assert volume["persistentVolumeClaim"] == {"claimName": "blockyard-models"}
    sources = [one["spec"]["containers"][0]["envFrom"] for one in (replica, fetching)]
    assert [s["secretRef"]["name"] for s in sources[0]] == [
        s["secretRef"]["name"] for s in sources[1]
    ]


def test_a_closed_namespace_lets_it_to_the_store_and_to_nobody_of_the_cluster(
    fetching: dict[str, Any],
) -> None:
    labels = fetching["metadata"]["labels"]
    ways_out = {
        one["metadata"]["name"]
        for one in chart(CHART_VALUES["prod"], *SETTINGS)
        if one["kind"] == "NetworkPolicy"
        and "Egress" in one["spec"]["policyTypes"]
        and selects(one["spec"]["podSelector"], labels)
    }
    assert ways_out == {"models-from-store", "deny-all", "all-to-dns"}


@pytest.fixture
def filling() -> dict[str, Any]:
    """The pod that waits for `kubectl cp`."""
    (found,) = rendered(BY_HAND)
    return found


def test_a_pod_to_copy_a_model_by_hand_is_accepted(filling: dict[str, Any], tmp_path: Path) -> None:
    assert judged([filling], tmp_path) == (0, "")
    assert too_open(filling["spec"]) == []
    verdict = checked(written([filling], tmp_path / "fill.yaml"))
    assert verdict[0] == 0, verdict[1]


def test_it_copies_to_where_the_model_is_looked_for(filling: dict[str, Any]) -> None:
    told = (BY_HAND / "kustomization.yaml").read_text()
    name = filling["metadata"]["name"]
    assert f"pod/{name}" in told
    (came,) = re.findall(rf"cp \S+ {name}:(\S+)", told)
    (moved, place) = re.findall(rf"exec {name} -- mv (\S+) (\S+)", told)[0]
    assert moved == came != place, "nobody may see a part of it"
    assert place == deployment(only(chart(CHART_VALUES["prod"]), "RayService")).model
    (mount,) = filling["spec"]["containers"][0]["volumeMounts"]
    assert Path(place).is_relative_to(mount["mountPath"])


def test_whoever_brings_a_model_may_write_to_a_new_volume(
    fetching: dict[str, Any], filling: dict[str, Any]
) -> None:
    serving = pod(chart(CHART_VALUES["prod"], *SETTINGS), "replica")
    for one in (fetching, filling):
        for field in ("fsGroup", "fsGroupChangePolicy"):
            asked = one["spec"]["securityContext"][field]
            assert asked == serving["spec"]["securityContext"][field], "or the others cannot read"
        (volume,) = [v for v in one["spec"]["volumes"] if v["name"] == "models"]
        assert volume["persistentVolumeClaim"] == {"claimName": "blockyard-models"}


def test_a_closed_namespace_lets_it_nowhere(filling: dict[str, Any]) -> None:
    ways = {
        one["metadata"]["name"]
        for one in chart(CHART_VALUES["prod"], *SETTINGS)
        if one["kind"] == "NetworkPolicy"
        and selects(one["spec"]["podSelector"], filling["metadata"]["labels"])
    }
    assert ways == {"deny-all", "all-to-dns", "metrics-from-prometheus"}
