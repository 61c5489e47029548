"""What clusters have of their own can be said in values, and values that contradict are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.rendering import (
    CHART,
    CHART_VALUES,
    EVERYTHING,
    Manifest,
    by_name,
    chart,
    groups,
    only,
    parsed,
    pod,
    pods,
)
from tests.deploy.serve_config import deployment, serve_config, unknown_fields
from tests.deploy.tools import DEPLOY, run, said
from tests.deploy.user_overlays import built, prod_with, prod_with_other_redis, shown_patches

PROD = CHART_VALUES["prod"]
ELSEWHERE = ("redis.enabled=false", "redis.address=rediss://redis.example.com:6379")
CONTRADICTIONS = {
    "more replicas than pods": ("serve.replicas=9", "no room for 9 replicas"),
    "load asks for more than there are pods": ("serve.maxReplicas=9", "no room for 9 replicas"),
    "fewer than the least": ("serve.minReplicas=5", "serve.replicas=4 is not between 5"),
    "more than the most": ("serve.maxReplicas=3", "serve.replicas=4 is not between 4 and 3"),
    "a patience without load": ("serve.scale_in_after_s=300", "means nothing where load"),
    "more gateways than pods": ("serve.gateways=5", "no room for serve.gateways=5"),
    "a store without a volume": (
        "modelStore.enabled=true,serve.model=s3://a/b,modelVolume.enabled=false",
        "no place to bring the model to",
    ),
    "a store and a folder": ("modelStore.enabled=true", "serve.model=/models/current is no URL"),
    "a store's URL without a store": ("serve.model=s3://a/b", "set modelStore.enabled=true"),
    "a server's URL without a store": ("serve.model=https://a/b", "set modelStore.enabled=true"),
    "a class of a claim that is there": (
        "modelVolume.existingClaim=mine,modelVolume.storageClass=fast",
        "modelVolume.storageClass means nothing",
    ),
    "no Redis at all": ("redis.enabled=false", "leaves nobody at redis.address"),
    "a CPU with a GPU": ("serve.device=cpu", "leaves the GPU idle"),
    "a GPU without one": (
        r"replica.resources.limits.nvidia\.com/gpu=null,"
        r"replica.resources.requests.nvidia\.com/gpu=null",
        "serve.device=cuda finds no GPU",
    ),
    "one hostname for two": ("routes.grpcHostname=llm.example.com", "may not share a hostname"),
    "chaos of one replica": ("chaos.enabled=true,serve.replicas=1", "chaos.enabled=true breaks"),
    "chaos of one gateway": ("chaos.enabled=true,serve.gateways=1", "chaos.enabled=true breaks"),
    "chaos of one leader": (
        "chaos.enabled=true,serve.controlPlanes=1",
        "chaos.enabled=true breaks",
    ),
    "chaos of a strange Redis": (
        "chaos.enabled=true,redis.enabled=false,redis.address=redis://a:6379",
        "a Redis of its own",
    ),
    "chaos that is not there": ("chaos.netemImage=tools:1", "without chaos.enabled=true"),
}


@pytest.mark.parametrize(("settings", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_values_that_contradict_each_other_are_refused_with_a_sentence(
    settings: str, words: str
) -> None:
    verdict = run("helm", "template", "blockyard", CHART, "--set", settings)
    assert verdict.returncode != 0
    assert words in said(verdict)


def test_all_contradictions_are_told_at_once() -> None:
    settings = "serve.replicas=9,serve.gateways=9,redis.enabled=false"
    words = said(run("helm", "template", "blockyard", CHART, "--set", settings))
    assert [words.count(name) for name in ("replica.max", "gateway.max", "redis.address")] == [
        1
    ] * 3


@pytest.mark.parametrize(
    "setting",
    [
        "serve.device=auto",
        "modelVolume.enabled=false",
        "routes.enabled=false,routes.grpcHostname=llm.example.com",
        "modelStore.enabled=true,serve.model=env:MODEL_URL",
    ],
)
def test_what_only_looks_like_a_contradiction_is_taken(setting: str) -> None:
    assert chart(PROD, setting)


@pytest.mark.parametrize(
    "setting",
    [
        "image.pullSecrets={Not A Name}",
        "serviceAccountName=Not A Name",
        "serve.minReplicas=0",
        "serve.scale_in_after_s=0",
        "modelVolume.storageClass=Fast",
        "modelStore.fsGroup=root",
        "redis.ports={}",
        "redis.ports={70000}",
        "redis.peers[0].cidr=10.0.0.0/8",
        "networkPolicy.clientCidrs={anybody}",
        "networkPolicy.apiServerPorts={}",
        "monitoring.labels.release=1",
    ],
)
def test_a_value_that_means_nothing_by_itself_is_refused(setting: str) -> None:
    verdict = run("helm", "template", "blockyard", CHART, "--set", setting)
    assert "values don't meet the specifications of the schema" in said(verdict)


def test_storage_is_of_the_class_that_is_named(tmp_path: Path) -> None:
    settings = ("modelVolume.storageClass=shared-files", "redis.storageClass=fast")
    objects = chart(PROD, *settings)
    claim = only(objects, "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == "shared-files"
    (of_redis,) = only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert of_redis["spec"]["storageClassName"] == "fast"
    assert "storageClassName" not in str(chart(PROD))
    patches = shown_patches("model-volume")
    shown = built(tmp_path, resources=["overlays/prod"], patches=patches)
    assert claim == only(shown, "PersistentVolumeClaim")


def test_a_claim_that_is_there_is_used_and_no_other_made() -> None:
    objects = chart(PROD, "modelVolume.existingClaim=weights")
    assert not [one for one in objects if one["kind"] == "PersistentVolumeClaim"]
    for role in ("gateway", "replica"):
        (volume,) = [v for v in pod(objects, role)["spec"]["volumes"] if v["name"] == "models"]
        assert volume["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}


def test_helm_leaves_the_model_when_the_release_goes() -> None:
    objects = parsed(run("helm", "template", "blockyard", CHART).stdout)
    claim = only(objects, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_every_pod_can_be_pulled_from_a_registry_that_asks(tmp_path: Path) -> None:
    secret = [{"name": "registry-credentials"}]
    setting = "image.pullSecrets={registry-credentials}"
    everybody = chart(PROD, *EVERYTHING, setting)
    assert {p["metadata"]["name"]: p["spec"]["imagePullSecrets"] for p in pods(everybody)} == {
        p["metadata"]["name"]: secret for p in pods(everybody)
    }
    assert "imagePullSecrets" not in str(chart(PROD, *EVERYTHING))
    assert_same(chart(PROD, setting), prod_with("pull-secrets", tmp_path))


@pytest.mark.parametrize("folder", ["model-fetch", "model-fetch/by-hand"])
def test_so_can_the_pods_that_bring_a_model(folder: str, tmp_path: Path) -> None:
    objects = built(tmp_path, resources=[folder], components=["components/pull-secrets"])
    for one in [*pods(objects), *(o for o in objects if o["kind"] == "Pod")]:
        assert one["spec"]["imagePullSecrets"] == [{"name": "registry-credentials"}]


def test_whoever_fetches_may_show_a_cloud_an_account_and_nobody_else(tmp_path: Path) -> None:
    setting = "serviceAccountName=blockyard-models"
    objects = chart(PROD, *EVERYTHING, setting)
    accounts = {
        one["metadata"]["labels"]["blockyard/role"]: one["spec"].get("serviceAccountName")
        for one in pods(objects)
    }
    fetching = dict.fromkeys(("gateway", "replica"), "blockyard-models")
    others = dict.fromkeys(("head", "control-plane", "redis"))
    assert accounts == {**fetching, **others, "chaos": "blockyard-chaos"}
    for role in fetching:
        assert pod(objects, role)["spec"]["automountServiceAccountToken"] is False
        assert pod(objects, role)["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert_same(chart(PROD, setting), prod_with("service-account", tmp_path))
    (tmp_path / "job").mkdir()
    (job,) = pods(
        built(
            tmp_path / "job", resources=["model-fetch"], components=["components/service-account"]
        )
    )
    assert job["spec"]["serviceAccountName"] == "blockyard-models"


def scaled(*settings: str) -> tuple[Manifest, list[Manifest]]:
    objects = chart(PROD, *settings)
    return only(objects, "RayService"), objects


def test_load_decides_how_many_replicas_there_are() -> None:
    service, objects = scaled(
        "serve.minReplicas=2", "serve.maxReplicas=8", "serve.scale_in_after_s=300"
    )
    told = deployment(service)
    assert (told.replicas_least, told.replicas, told.replicas_most) == (2, 4, 8)
    assert told.scale_in_after_s == 300
    assert unknown_fields(service) == []
    (application,) = serve_config(service)["applications"]
    assert [each["name"] for each in application["deployments"]] == ["gateway"]
    group = groups(objects)["replica"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (2, 4, 8)
    budget = only(objects, "PodDisruptionBudget", "blockyard-replica")
    assert budget["spec"]["minAvailable"] == 1


@pytest.mark.parametrize(
    ("setting", "bounds"), [("serve.minReplicas=1", (1, 4)), ("serve.maxReplicas=6", (4, 6))]
)
def test_one_bound_is_enough(setting: str, bounds: tuple[int, int]) -> None:
    service, objects = scaled(setting)
    told = deployment(service)
    assert (told.replicas_least, told.replicas_most) == bounds
    assert groups(objects)["replica"]["minReplicas"] == bounds[0]


def test_as_shipped_a_number_decides() -> None:
    service, _ = scaled()
    told = deployment(service)
    assert "replicas" not in told.model_fields_set, "another number would restart every actor"
    assert told.replicas_least == told.replicas_most


def test_somebody_elses_redis_can_be_reached_and_ours_is_gone(tmp_path: Path) -> None:
    objects = chart(PROD, *ELSEWHERE)
    assert_same(objects, prod_with_other_redis(tmp_path))
    assert {"blockyard-redis", "redis-from-ray"} & {o["metadata"]["name"] for o in objects} == set()
    policy = only(objects, "NetworkPolicy", "ray-to-redis")["spec"]
    assert policy["egress"] == [{"ports": [{"port": 6379, "protocol": "TCP"}]}]
    state = only(objects, "RayService")["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert state["redisAddress"] == "rediss://redis.example.com:6379"


def test_the_way_to_somebody_elses_redis_can_be_narrow() -> None:
    place = "redis.peers[0].ipBlock.cidr=10.20.0.0/24"
    objects = chart(PROD, *ELSEWHERE, "redis.ports={6379,26379}", place)
    (way,) = only(objects, "NetworkPolicy", "ray-to-redis")["spec"]["egress"]
    assert [port["port"] for port in way["ports"]] == [6379, 26379]
    assert way["to"] == [{"ipBlock": {"cidr": "10.20.0.0/24"}}]


def test_clients_outside_and_an_api_server_elsewhere_are_let_through(tmp_path: Path) -> None:
    settings = (
        "networkPolicy.clientCidrs={203.0.113.0/24}",
        "networkPolicy.apiServerPorts={443,6443,8443}",
    )
    shown = built(tmp_path, resources=["overlays/prod"], patches=shown_patches("networkpolicy"))
    assert_same(chart(PROD, *settings), shown)
    way = only(chart(PROD, "chaos.enabled=true", *settings), "NetworkPolicy", "chaos-to-cluster")
    assert [one["port"] for one in way["spec"]["egress"][2]["ports"]] == [443, 6443, 8443]


def test_prometheus_may_choose_monitors_and_rules_by_a_label(tmp_path: Path) -> None:
    objects = chart(PROD, "monitoring.labels.release=kube-prometheus-stack")
    chosen = [o for o in objects if o["kind"] in {"PodMonitor", "PrometheusRule"}]
    assert len(chosen) == 4
    for one in chosen:
        assert one["metadata"]["labels"] == {"release": "kube-prometheus-stack"}
    shown = built(tmp_path, resources=["overlays/prod"], patches=shown_patches("monitoring"))
    assert_same(objects, shown)


@pytest.mark.parametrize("name", ["team-b", "llm"])
def test_nothing_of_prod_knows_its_namespace_by_name(name: str, tmp_path: Path) -> None:
    """The namespace itself keeps its name, since kustomize renames it, too."""
    theirs = built(tmp_path, resources=["overlays/prod"], namespace=name)
    namespaced = [o for o in theirs if "namespace" in o["metadata"]]
    assert len(namespaced) > 20
    assert {o["metadata"]["namespace"] for o in namespaced} == {name}
    rules = str(only(theirs, "PrometheusRule")["spec"])
    assert "namespace=" not in rules


@pytest.mark.parametrize(
    ("settings", "said_so", "not_said"),
    [
        ((), ("blockyard-operator-key", "blockyard/clients=true", "in the clear"), ("WARNING",)),
        (("mtls.enabled=true",), ("RayClusterMTLS",), ("in the clear",)),
        (("apiKeys.enabled=false",), ("curl -sN",), ("blockyard-operator-key",)),
        (("modelVolume.existingClaim=mine",), (), ("Nobody has filled",)),
    ],
)
def test_whoever_installs_is_told_what_comes_next(
    settings: tuple[str, ...], said_so: tuple[str, ...], not_said: tuple[str, ...]
) -> None:
    notes = told_at_install(*settings)
    assert "kubectl -n team-b get rayservice blockyard" in notes
    for words in said_so:
        assert words in notes
    for words in not_said:
        assert words not in notes


def told_at_install(*settings: str) -> str:
    sets = [word for setting in settings for word in ("--set", setting)]
    verdict = run("helm", "install", "blockyard", CHART, "-n", "team-b", "--dry-run=client", *sets)
    assert verdict.returncode == 0, said(verdict)
    return verdict.stdout.split("\nNOTES:\n")[1]


def test_paths_that_are_told_at_install_exist() -> None:
    notes = told_at_install()
    for path in ("deploy/model-fetch", "deploy/model-fetch/by-hand"):
        assert path in notes
        assert (DEPLOY.parent / path / "kustomization.yaml").exists()


def assert_same(from_chart: list[Manifest], from_kustomize: list[Manifest]) -> None:
    """Object by object; the chart leaves the namespace to its user."""
    theirs, ours = by_name(from_kustomize), by_name(from_chart)
    assert theirs.keys() - ours.keys() == {("Namespace", "blockyard")}
    assert ours.keys() - theirs.keys() == set()
    for key, rendered in ours.items():
        assert rendered == theirs[key], key
