"""Components that no overlay uses build and are accepted like the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from protos.transport import MEMBER
from tests.deploy import custom_resources, operator_rules
from tests.deploy.rendering import (
    CHART_VALUES,
    OVERLAYS,
    Manifest,
    by_name,
    chart,
    only,
    overlay,
    pod,
)
from tests.deploy.serve_config import deployment
from tests.deploy.tools import DEPLOY
from tests.deploy.user_overlays import prod_with


def used_components() -> set[str]:
    return {
        component.name
        for overlay in OVERLAYS
        for component in (DEPLOY / "components").iterdir()
        if f"components/{component.name}"
        in (DEPLOY / "overlays" / overlay / "kustomization.yaml").read_text()
    }


def test_every_component_but_those_that_need_others_is_used_by_an_overlay() -> None:
    written = {folder.name for folder in (DEPLOY / "components").iterdir()}
    of_clusters = {"managed-redis", "pull-secrets", "service-account"}
    assert written - used_components() == {"model-store", "mtls", "tracing"} | of_clusters


@pytest.fixture
def encrypted(tmp_path: Path) -> list[Manifest]:
    return prod_with("mtls", tmp_path)


def test_mtls_can_be_added_to_an_overlay(encrypted: list[Manifest]) -> None:
    service = only(encrypted, "RayService")
    assert service["spec"]["rayClusterConfig"]["tlsOptions"] == {"enabled": True}
    assert operator_rules.broken_rules(service) == []
    assert custom_resources.mistakes(service) == []


def test_chart_and_component_mean_the_same_by_mtls(encrypted: list[Manifest]) -> None:
    """Of the Serve config kustomize leaves two lines to its user; the component names them."""
    from_chart = by_name(chart(CHART_VALUES["prod"], "mtls.enabled=true"))
    from_component = by_name(encrypted)
    service = ("RayService", "blockyard")
    written = from_chart[service]["spec"].pop("serveConfigV2")
    from_component[service]["spec"].pop("serveConfigV2")
    for key, rendered in from_chart.items():
        assert rendered == from_component[key], key
    text = (DEPLOY / "components" / "mtls" / "kustomization.yaml").read_text()
    for line in ("internal_tls: /etc/blockyard/internal-tls", "health_port: 8804"):
        assert line in written
        assert line in text


def test_members_find_their_certificate_and_probes_a_port_in_the_clear() -> None:
    objects = chart(CHART_VALUES["prod"], "mtls.enabled=true")
    opened = deployment(only(objects, "RayService"))
    issued = only(objects, "Certificate", "blockyard-internal")["spec"]
    assert issued["dnsNames"] == [MEMBER]
    assert {"server auth", "client auth"} <= set(issued["usages"])
    for role in ("gateway", "control-plane", "replica"):
        spec = pod(objects, role)["spec"]
        (volume,) = [v for v in spec["volumes"] if v["name"] == "internal-tls"]
        assert volume["secret"]["secretName"] == issued["secretName"]
        container = spec["containers"][0]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "internal-tls"]
        assert (mount["mountPath"], mount["readOnly"]) == (str(opened.internal_tls), True)
        if role != "gateway":
            assert container["readinessProbe"]["grpc"]["port"] == opened.health_port
            assert opened.health_port in {p["containerPort"] for p in container["ports"]}


def test_the_authority_of_members_signs_nothing_else() -> None:
    objects = chart(CHART_VALUES["prod"], "mtls.enabled=true")
    issuers = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "Issuer"}
    signed = [
        o["metadata"]["name"]
        for o in objects
        if o["kind"] == "Certificate" and "ca" in issuers[o["spec"]["issuerRef"]["name"]]
    ]
    assert signed == ["blockyard-internal"]


def test_chaos_comes_to_the_control_plane_as_a_member() -> None:
    settings = ("mtls.enabled=true", "chaos.enabled=true")
    job = only(chart(CHART_VALUES["prod"], *settings), "CronJob")
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "internal-tls"]
    env = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert env["BLOCKYARD_INTERNAL_TLS"] == mount["mountPath"]
    assert "internal-tls" in {volume["name"] for volume in spec["volumes"]}


def test_only_gateways_read_keys_and_from_where_the_config_says() -> None:
    for objects in (overlay("prod"), chart(CHART_VALUES["prod"])):
        opened = deployment(only(objects, "RayService")).keys_file
        assert opened is not None
        for role in ("gateway", "control-plane", "replica"):
            spec = pod(objects, role)["spec"]
            secrets = [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v]
            assert ("blockyard-api-keys" in secrets) == (role == "gateway")
        container = pod(objects, "gateway")["spec"]["containers"][0]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "api-keys"]
        assert mount["mountPath"] == str(opened.parent)
        assert "subPath" not in mount, "a file that is mounted by itself never changes"


def test_without_keys_a_laptop_asks_nobody_for_one() -> None:
    assert deployment(only(overlay("dev"), "RayService")).keys_file is None


def test_tracing_as_shipped_is_of_a_tenth(tmp_path: Path) -> None:
    (container,) = pod(prod_with("tracing", tmp_path), "gateway")["spec"]["containers"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert env["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio"
    assert env["OTEL_TRACES_SAMPLER_ARG"] == "0.1", "more costs gateways more than a few percent"


def test_chart_and_component_mean_the_same_by_tracing(tmp_path: Path) -> None:
    endpoint = "http://collector.observability:4317"
    from_chart = by_name(chart(CHART_VALUES["prod"], f"tracing.endpoint={endpoint}"))
    from_component = by_name(prod_with("tracing", tmp_path))
    for key, rendered in from_chart.items():
        assert rendered == from_component[key], key


def test_whoever_has_spans_is_told_of_the_collector_and_may_reach_it() -> None:
    endpoint = "http://collector.observability:4317"
    objects = chart(CHART_VALUES["prod"], f"tracing.endpoint={endpoint}", "tracing.ratio=0")
    groups = only(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    told = {}
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        env = {each["name"]: each.get("value") for each in container["env"]}
        told[group["groupName"]] = env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if group["groupName"] == "gateway":
            assert env["OTEL_TRACES_SAMPLER_ARG"] == "0"
    assert told == {"gateway": endpoint, "replica": endpoint, "control-plane": None}
    policy = only(objects, "NetworkPolicy", "spans-to-collector")["spec"]
    roles = policy["podSelector"]["matchExpressions"][0]["values"]
    assert roles == [role for role, known in told.items() if known]
    assert policy["egress"][0]["ports"] == [{"port": 4317, "protocol": "TCP"}]
    assert "OTEL" not in str(chart(CHART_VALUES["prod"]))
