"""The chart renders what kustomize builds, and refuses values that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.rendering import CHART, CHART_VALUES, OVERLAYS, by_name, chart, only, overlay
from tests.deploy.serve_config import deployment
from tests.deploy.tools import run, said

# Helm's users make the namespace; deploy/README.md gives it the labels.
NOT_IN_THE_CHART = {("Namespace", "blockyard")}


@pytest.mark.parametrize("name", OVERLAYS)
def test_chart_and_kustomize_render_the_same_objects(name: str) -> None:
    from_kustomize, from_chart = by_name(overlay(name)), by_name(chart(CHART_VALUES[name]))
    assert from_kustomize.keys() - from_chart.keys() == NOT_IN_THE_CHART
    assert from_chart.keys() - from_kustomize.keys() == set()
    for key, rendered in from_chart.items():
        assert rendered == from_kustomize[key], key


@pytest.mark.parametrize("values", CHART_VALUES.values(), ids=CHART_VALUES)
def test_helm_has_nothing_to_say(values: Any) -> None:
    verdict = run("helm", "lint", "--strict", CHART, "-f", values)
    assert verdict.returncode == 0, said(verdict)


@pytest.mark.parametrize(
    "setting",
    [
        "serve.replicas=0",
        "serve.device=tpu",
        "serve.replica=4",
        "image.tag=latest",
        "redis.address=rediss://user:secret@redis:6379",
        "replica.resources.limits.memory=lots",
        "monitorin.enabled=true",
        "mtls.enabled=maybe",
        "serve.ui=please",
        "modelStore.checksums=never",
        "modelStore.secret=Not A Name",
        "serve.log_format=xml",
        "serve.copy_gbps=-1",
        "serve.host_gib=-1",
        "tracing.endpoint=collector",
        "tracing.ratio=2",
        "chaos.schedule=nightly",
    ],
)
def test_values_that_mean_nothing_are_refused(setting: str) -> None:
    verdict = run("helm", "template", "blockyard", CHART, "--set", setting)
    assert verdict.returncode != 0
    assert "values don't meet the specifications of the schema" in said(verdict)


@pytest.mark.parametrize(
    "setting, kinds",
    [
        ("monitoring.enabled=false", {"PodMonitor", "PrometheusRule"}),
        ("networkPolicy.enabled=false", {"NetworkPolicy"}),
        ("routes.enabled=false", {"Gateway", "HTTPRoute", "GRPCRoute"}),
        ("redis.enabled=false,redis.address=rediss://elsewhere:6379", {"StatefulSet"}),
        ("modelVolume.enabled=false", {"PersistentVolumeClaim"}),
        ("priorityClasses.create=false", {"PriorityClass"}),
    ],
)
def test_a_toggle_takes_its_objects_and_no_others(setting: str, kinds: set[str]) -> None:
    everything = {o["kind"] for o in chart(CHART_VALUES["prod"])}
    left = {o["kind"] for o in chart(CHART_VALUES["prod"], setting)}
    assert everything - left == kinds


def test_mtls_is_rays_own() -> None:
    service = only(chart(CHART_VALUES["prod"], "mtls.enabled=true"), "RayService")
    assert service["spec"]["rayClusterConfig"]["tlsOptions"] == {"enabled": True}


@pytest.mark.parametrize("switch", ["ui", "deterministic"])
def test_what_is_off_by_default_is_there_where_it_is_asked_for(switch: str) -> None:
    """The live page; the same bits for a request whatever else is served."""
    assert not getattr(deployment(only(chart(CHART_VALUES["prod"]), "RayService")), switch)
    service = only(chart(CHART_VALUES["prod"], f"serve.{switch}=true"), "RayService")
    assert getattr(deployment(service), switch)


@pytest.mark.parametrize(
    ("setting", "gbps"), [("serve.ui=false", 25.0), ("serve.copy_gbps=0", 0.0)]
)
def test_copies_go_as_fast_as_the_link_is_said_to_be(setting: str, gbps: float) -> None:
    service = only(chart(CHART_VALUES["prod"], setting), "RayService")
    assert deployment(service).copy_gbps == gbps


@pytest.mark.parametrize(("setting", "gib"), [("serve.ui=false", 0.0), ("serve.host_gib=8", 8.0)])
def test_host_memory_is_taken_where_it_is_given(setting: str, gib: float) -> None:
    service = only(chart(CHART_VALUES["prod"], setting), "RayService")
    assert deployment(service).host_gib == gib


@pytest.mark.parametrize(("setting", "most"), [("serve.ui=false", 0), ("serve.guesses_max=4", 4)])
def test_sequences_guess_where_they_are_told_to(setting: str, most: int) -> None:
    service = only(chart(CHART_VALUES["prod"], setting), "RayService")
    assert deployment(service).guesses_max == most


def test_the_grace_follows_the_drain() -> None:
    service = only(chart(CHART_VALUES["prod"], "serve.drain_s=600"), "RayService")
    replica = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][2]["template"]["spec"]
    assert replica["terminationGracePeriodSeconds"] == 660
    assert service["spec"]["rayClusterDeletionDelaySeconds"] == 660
