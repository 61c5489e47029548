"""The application in the manifests is one that Serve and we ourselves accept."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from orchestrator.live.app import STARTS_MAX, STOP_MARGIN_S, build
from replicas.serving.server import DATA_SERVICE
from tests.deploy.rendering import OVERLAYS, Manifest, groups, only, overlay, pod, pods
from tests.deploy.serve_config import (
    counts,
    deployment,
    deployments_of,
    serve_config,
    unknown_fields,
)

ROLES = {"gateway", "control-plane", "replica"}


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return overlay(request.param)


def ports(objects: list[Manifest], role: str) -> dict[str, int]:
    container = pod(objects, role)["spec"]["containers"][0]
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def environment(objects: list[Manifest], role: str) -> dict[str, Manifest]:
    container = pod(objects, role)["spec"]["containers"][0]
    return {variable["name"]: variable for variable in container["env"]}


def amount(quantity: str) -> float:
    """Cores or bytes."""
    number, unit = re.fullmatch(r"([\d.]+)(m|Mi|Gi|)", quantity).groups()  # type: ignore[union-attr]
    return float(number) * {"m": 1e-3, "Mi": 2**20, "Gi": 2**30, "": 1}[unit]


def test_serve_knows_every_field(objects: list[Manifest]) -> None:
    assert unknown_fields(only(objects, "RayService")) == []


@pytest.mark.parametrize(
    "right, wrong",
    [("proxy_location:", "proxy_locations:"), ("route_prefix:", "route:"), ("  host:", "  hosts:")],
)
def test_a_field_that_serve_would_ignore_is_found(right: str, wrong: str) -> None:
    service = only(overlay("prod"), "RayService")
    service["spec"]["serveConfigV2"] = service["spec"]["serveConfigV2"].replace(right, wrong, 1)
    assert len(unknown_fields(service)) == 1


def test_an_argument_that_the_application_does_not_know_is_found() -> None:
    service = only(overlay("prod"), "RayService")
    text = service["spec"]["serveConfigV2"].replace("drain_s:", "drain:")
    service["spec"]["serveConfigV2"] = text
    with pytest.raises(ValidationError, match="drain"):
        deployment(service)


def test_how_many_is_no_argument_so_that_scaling_restarts_nobody(objects: list[Manifest]) -> None:
    (application,) = serve_config(only(objects, "RayService"))["applications"]
    assert "replicas" not in application["args"]
    assert counts(only(objects, "RayService")).keys() == {"gateway", "replica"}


def test_the_deployments_are_those_that_the_application_builds(objects: list[Manifest]) -> None:
    service = only(objects, "RayService")
    application = build(deployment(service).model_copy(update={"device": "cpu"}))
    names = {deployed.name for deployed in deployments_of(application)}
    assert counts(service).keys() < names == ROLES


def test_no_password_stands_in_the_serve_config(objects: list[Manifest]) -> None:
    url = deployment(only(objects, "RayService")).redis_url
    name = url.removeprefix("env:")
    assert name != url
    for role in ROLES:
        assert "secretKeyRef" in environment(objects, role)[name]["valueFrom"]


def test_gateways_get_a_user_that_only_reads(objects: list[Manifest]) -> None:
    keys = {
        role: environment(objects, role)["BLOCKYARD_REDIS_URL"]["valueFrom"]["secretKeyRef"]["key"]
        for role in ROLES
    }
    assert keys == {"gateway": "url-readonly", "control-plane": "url", "replica": "url"}


def test_every_role_has_a_group_of_workers_with_its_label(objects: list[Manifest]) -> None:
    label = deployment(only(objects, "RayService")).role_label
    assert label is not None
    assert {group["labels"][label] for group in groups(objects).values()} == ROLES
    for role, group in groups(objects).items():
        assert group["labels"][label] == role
        assert group["template"]["metadata"]["labels"][label] == role


def test_there_are_pods_for_what_the_application_starts(objects: list[Manifest]) -> None:
    service = only(objects, "RayService")
    wanted = {**counts(service), "control-plane": deployment(service).control_planes}
    assert {name: group["minReplicas"] for name, group in groups(objects).items()} == wanted


def test_pods_name_the_ports_that_the_application_opens(objects: list[Manifest]) -> None:
    opened = deployment(only(objects, "RayService"))
    gateway = ports(objects, "gateway")
    assert (gateway["http"], gateway["grpc"]) == (opened.http_port, opened.grpc_port)
    control_plane = ports(objects, "control-plane")
    assert (control_plane["control"], control_plane["moves"]) == (
        opened.control_port,
        opened.metrics_port,
    )
    assert ports(objects, "replica")["data"] == opened.replica_port
    assert opened.host == "0.0.0.0"


def test_no_port_of_ours_is_one_of_rays(objects: list[Manifest]) -> None:
    taken = set(ports(objects, "head").values()) | {52365, 8076, 8077}
    opened = deployment(only(objects, "RayService"))
    front = {opened.http_port, opened.grpc_port}
    ours = front | {opened.control_port, opened.metrics_port, opened.replica_port}
    assert taken & ours == set()
    assert all(port is not None and port < 10000 for port in ours), "workers' ports begin there"


def test_a_pod_waits_longer_than_a_drain_and_kubernetes_longer_than_the_pod(
    objects: list[Manifest],
) -> None:
    drain_s = deployment(only(objects, "RayService")).drain_s
    for role in ("gateway", "replica"):
        waits_s = int(environment(objects, role)["DRAIN_SECONDS"]["value"])
        spec = pod(objects, role)["spec"]
        assert drain_s + STOP_MARGIN_S < waits_s < spec["terminationGracePeriodSeconds"]
        assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["drain-pod"]


def test_the_head_outlives_the_workers_that_it_drains(objects: list[Manifest]) -> None:
    spec = pod(objects, "head")["spec"]
    sleep, seconds = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert int(seconds) >= int(environment(objects, "replica")["DRAIN_SECONDS"]["value"])
    assert int(seconds) < spec["terminationGracePeriodSeconds"]


def test_readiness_asks_the_port_that_serves(objects: list[Manifest]) -> None:
    opened = deployment(only(objects, "RayService"))
    probes = {role: pod(objects, role)["spec"]["containers"][0]["readinessProbe"] for role in ROLES}
    assert probes["gateway"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert probes["control-plane"]["grpc"]["port"] == opened.control_port
    assert probes["replica"]["grpc"] == {"port": opened.replica_port, "service": DATA_SERVICE}, (
        "without a name a replica answers for its process, which is sound before it has a model"
    )


def test_serve_never_gives_up_to_start_an_actor(objects: list[Manifest]) -> None:
    given_up = environment(objects, "head")["RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT"]["value"]
    assert int(given_up) >= STARTS_MAX
    service = only(objects, "RayService")
    application = build(deployment(service).model_copy(update={"device": "cpu"}))
    for deployed in deployments_of(application):
        assert deployed._deployment_config.max_constructor_retry_count == STARTS_MAX


def test_actors_log_to_where_kubectl_looks(objects: list[Manifest]) -> None:
    for role in ROLES | {"head"}:
        assert environment(objects, role)["RAY_LOG_TO_STDERR"]["value"] == "1"
        assert environment(objects, role)["RAY_BACKEND_LOG_LEVEL"]["value"] == "warning"


def test_a_laptop_has_room_for_what_dev_asks() -> None:
    """3 cores and 8 GiB, of which a cluster of kind and the operator take some for themselves."""
    objects = overlay("dev")
    asked = [
        container["resources"]["requests"]
        for one in pods(objects)
        for container in one["spec"]["containers"]
    ]
    cluster = only(objects, "RayService")["spec"]["rayClusterConfig"]
    asked.append(cluster["autoscalerOptions"]["resources"]["requests"])
    assert len(asked) == 6
    assert sum(amount(each["cpu"]) for each in asked) <= 1.5
    assert sum(amount(each["memory"]) for each in asked) <= 7 * 2**30
