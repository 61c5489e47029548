"""Models from a store: who fetches may reach it, write and show credentials, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy import custom_resources, operator_rules
from tests.deploy.rendering import CHART_VALUES, Manifest, by_name, chart, only, pod
from tests.deploy.serve_config import deployment
from tests.deploy.tools import DEPLOY
from tests.deploy.user_overlays import built, prod_with, shown_patches

SETTINGS = ("modelStore.enabled=true", "serve.model=s3://bucket/llama")
FETCHING, OTHERS = ("gateway", "replica"), ("control-plane", "head")


@pytest.fixture
def objects() -> list[Manifest]:
    return chart(CHART_VALUES["prod"], *SETTINGS)


def test_chart_and_component_mean_the_same(objects: list[Manifest], tmp_path: Path) -> None:
    """Of the Serve config kustomize leaves three lines to its user; the component names them."""
    from_chart, from_component = by_name(objects), by_name(prod_with("model-store", tmp_path))
    service = ("RayService", "blockyard")
    written = from_chart[service]["spec"].pop("serveConfigV2")
    from_component[service]["spec"].pop("serveConfigV2")
    for key, rendered in from_chart.items():
        assert rendered == from_component[key], key
    text = (DEPLOY / "components" / "model-store" / "kustomization.yaml").read_text()
    for line in ("model: s3://bucket/llama", "model_cache: /models/fetched", "checksums: required"):
        assert line in written
        assert line in text


def test_it_is_accepted(objects: list[Manifest]) -> None:
    service = only(objects, "RayService")
    assert operator_rules.broken_rules(service) == []
    assert custom_resources.mistakes(service) == []


def test_whoever_fetches_may_write_where_the_config_says(objects: list[Manifest]) -> None:
    opened = deployment(only(objects, "RayService"))
    assert opened.model_cache is not None
    for role in FETCHING:
        spec = pod(objects, role)["spec"]
        (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "models"]
        assert opened.model_cache.is_relative_to(mount["mountPath"])
        assert "readOnly" not in mount
        (volume,) = [v for v in spec["volumes"] if v["name"] == "models"]
        assert volume["persistentVolumeClaim"] == {"claimName": "blockyard-models"}


def group_of_files(objects: list[Manifest]) -> dict[str, tuple[object, object]]:
    contexts = {role: pod(objects, role)["spec"]["securityContext"] for role in FETCHING + OTHERS}
    return {
        role: (context.get("fsGroup"), context.get("fsGroupChangePolicy"))
        for role, context in contexts.items()
    }


def test_a_new_volume_of_roots_is_given_to_a_group_of_whoever_fetches(
    objects: list[Manifest],
) -> None:
    nobody = dict.fromkeys(FETCHING + OTHERS, (None, None))
    assert group_of_files(objects) == nobody | dict.fromkeys(FETCHING, (10001, "OnRootMismatch"))
    assert group_of_files(chart(CHART_VALUES["prod"])) == nobody, "who only reads needs none"


def test_the_group_can_be_left_to_a_cluster_that_gives_its_own(tmp_path: Path) -> None:
    nobody = dict.fromkeys(FETCHING + OTHERS, (None, None))
    assert (
        group_of_files(chart(CHART_VALUES["prod"], *SETTINGS, "modelStore.fsGroup=null")) == nobody
    )
    objects = built(
        tmp_path,
        resources=["overlays/prod"],
        components=["components/model-store"],
        patches=shown_patches("model-store"),
    )
    assert group_of_files(objects) == nobody


def test_credentials_come_from_a_secret_to_whoever_fetches(objects: list[Manifest]) -> None:
    for role in (*FETCHING, *OTHERS):
        sources = pod(objects, role)["spec"]["containers"][0].get("envFrom", [])
        named = [source["secretRef"]["name"] for source in sources]
        assert named == (["blockyard-model-store"] if role in FETCHING else [])
    assert "AWS_" not in str(objects)


def test_only_whoever_fetches_reaches_the_store() -> None:
    objects = chart(CHART_VALUES["prod"], *SETTINGS, "modelStore.port=9000")
    policy = only(objects, "NetworkPolicy", "models-from-store")["spec"]
    assert set(policy["podSelector"]["matchExpressions"][0]["values"]) == {*FETCHING, "model-fetch"}
    assert policy["egress"] == [{"ports": [{"port": 9000, "protocol": "TCP"}]}]


def test_without_it_nobody_writes_to_the_volume_of_models() -> None:
    objects = chart(CHART_VALUES["prod"])
    assert "models-from-store" not in str(objects)
    for role in FETCHING:
        (mount,) = [
            m
            for m in pod(objects, role)["spec"]["containers"][0]["volumeMounts"]
            if m["name"] == "models"
        ]
        assert mount["readOnly"] is True
