"""Every overlay builds, and everybody who would refuse its objects is asked first.

A checker that accepts everything proves nothing: beside each verdict stands a
planted mistake that the same checker must find.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.deploy import custom_resources, operator_rules
from tests.deploy.rendering import OVERLAYS, RENDERINGS, Manifest, only, overlay, pod, pods, written
from tests.deploy.tools import DEPLOY, run, said

KUBERNETES = "1.34"
CHECKOV_SKIPS = {
    "CKV_K8S_8": "the operator adds liveness probes",
    "CKV_K8S_9": "the operator adds the head's readiness probe",
    "CKV_K8S_15": "images are pulled by version, once",
    "CKV_K8S_35": "Ray and the registry read passwords from the environment",
    "CKV_K8S_38": "the head's autoscaler speaks to the API server",
    "CKV_K8S_40": "no uid is fixed: OpenShift gives its own",
    "CKV2_K8S_6": "the overlay prod has the policies, as objects of their own",
    "CKV_K8S_43": "digests are the overlay's to set",
}


KUBERNETES_OWN = {
    *("", "apps", "batch", "networking.k8s.io", "policy"),
    *("rbac.authorization.k8s.io", "scheduling.k8s.io"),
}
CUSTOM = {"ray.io", "gateway.networking.k8s.io", "monitoring.coreos.com"}
UNJUDGED = {
    ("cert-manager.io/v1", "Certificate"): "tests compare its fields with what members ask for",
    ("cert-manager.io/v1", "Issuer"): "one field each, and its operator tells what it refuses",
}


@pytest.fixture(params=RENDERINGS.values(), ids=list(RENDERINGS))
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    rendering: Callable[[], list[Manifest]] = request.param
    return rendering()


def judged(objects: list[Manifest], folder: Path) -> tuple[int, str]:
    """The verdict over Kubernetes's own kinds."""
    path = written([o for o in objects if not is_custom(o)], folder / "objects.yaml")
    verdict = run("kubernetes-validate", "-k", KUBERNETES, "--strict", "--quiet", path)
    return verdict.returncode, said(verdict)


def is_custom(resource: Manifest) -> bool:
    return group_of(resource) in CUSTOM or kind_of(resource) in UNJUDGED


def kind_of(resource: Manifest) -> tuple[str, str]:
    return resource["apiVersion"], resource["kind"]


def group_of(resource: Manifest) -> str:
    group, _, version = str(resource["apiVersion"]).rpartition("/")
    return group if version else ""


def misjudged(objects: list[Manifest]) -> list[str]:
    """The verdict over kinds that operators define."""
    return [
        f"{resource['kind']} {resource['metadata']['name']}: {mistake}"
        for resource in objects
        if group_of(resource) in CUSTOM
        for mistake in custom_resources.mistakes(resource)
    ]


def judges(resource: Manifest) -> list[str]:
    """kubernetes-validate reads the first word of a group only: which it may judge stands here."""
    takes = {
        "kubernetes-validate": group_of(resource) in KUBERNETES_OWN,
        "its definition": kind_of(resource) in custom_resources.definitions(),
        "nobody": kind_of(resource) in UNJUDGED,
    }
    return [judge for judge, is_its in takes.items() if is_its]


def test_every_object_has_one_judge(objects: list[Manifest]) -> None:
    found = {kind_of(resource): judges(resource) for resource in objects}
    assert {kind: those for kind, those in found.items() if len(those) != 1} == {}


@pytest.mark.parametrize(
    "api_version",
    ["networking.k8s.io.example.com/v1", "gateway.networking.k8s.io/v9", "apps.io/v1"],
)
def test_an_object_that_nobody_judges_is_found(api_version: str) -> None:
    policy = only(overlay("prod"), "NetworkPolicy", "deny-all")
    assert judges(policy) == ["kubernetes-validate"]
    assert judges({**policy, "apiVersion": api_version}) == []


def test_kubernetes_knows_every_field_of_its_own_kinds(
    objects: list[Manifest], tmp_path: Path
) -> None:
    assert judged(objects, tmp_path) == (0, "")


@pytest.mark.parametrize(
    ("kind", "name", "right", "wrong"),
    [
        ("StatefulSet", "blockyard-redis", "replicas", "replica"),
        ("NetworkPolicy", "gateway-from-clients", "ingress", "ingres"),
        ("PodDisruptionBudget", "blockyard-replica", "minAvailable", "minAvailabel"),
        ("Service", "blockyard-gateway", "ports", "port"),
    ],
)
def test_a_field_that_kubernetes_does_not_know_is_found(
    kind: str, name: str, right: str, wrong: str, tmp_path: Path
) -> None:
    objects = overlay("prod")
    spec = only(objects, kind, name)["spec"]
    spec[wrong] = spec.pop(right)
    assert wrong in judged(objects, tmp_path)[1]


@pytest.mark.parametrize(
    "change", [{"valeu": 1}, {"value": "high"}, {"apiVersion": "scheduling.k8s.io/v9"}]
)
def test_a_priority_class_that_kubernetes_does_not_know_is_found(
    change: Manifest, tmp_path: Path
) -> None:
    objects = overlay("prod")
    only(objects, "PriorityClass", "blockyard-front").update(change)
    assert judged(objects, tmp_path) != (0, "")


def test_kubernetes_knows_every_field_of_every_pod(objects: list[Manifest], tmp_path: Path) -> None:
    assert judged(pods(objects), tmp_path) == (0, "")


def test_a_misspelt_field_of_a_ray_pod_is_found(tmp_path: Path) -> None:
    objects = overlay("prod")
    pod(objects, "replica")["spec"]["toleration"] = []
    assert judged(pods(objects), tmp_path)[0] != 0


def test_custom_resources_are_what_their_operators_define(objects: list[Manifest]) -> None:
    assert "RayService" in {resource["kind"] for resource in objects if is_custom(resource)}
    assert misjudged(objects) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("RayService", "blockyard"),
        ("Gateway", "blockyard"),
        ("HTTPRoute", "blockyard"),
        ("GRPCRoute", "blockyard"),
        ("PodMonitor", "blockyard-ray"),
        ("PrometheusRule", "blockyard"),
    ],
)
def test_a_field_that_an_operator_does_not_define_is_found(kind: str, name: str) -> None:
    objects = overlay("prod")
    only(objects, kind, name)["spec"]["planted"] = True
    (told,) = misjudged(objects)
    assert told.startswith(f"{kind} {name}: spec: ")


def test_planted_mistakes_in_custom_resources_are_found() -> None:
    objects = overlay("prod")
    service = only(objects, "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    cluster["workerGroupSpecs"][0]["minReplica"] = 1
    cluster["autoscalerOptions"]["version"] = "v3"
    cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    said_of_ray = "\n".join(custom_resources.mistakes(service))
    assert "minReplica" in said_of_ray
    assert "v3" in said_of_ray
    assert "num-cpus: 0 is not of type 'string'" in said_of_ray


def test_a_broken_rule_of_a_definition_is_found() -> None:
    """Two listeners of one name: the schema allows it, a CEL rule does not."""
    gateway = only(overlay("prod"), "Gateway")
    gateway["spec"]["listeners"][1] = dict(gateway["spec"]["listeners"][0])
    assert custom_resources.mistakes(gateway) != []


def test_a_null_counts_as_absent_where_none_is_allowed() -> None:
    service = only(overlay("dev"), "RayService")
    service["spec"]["rayClusterConfig"]["suspend"] = None
    assert custom_resources.mistakes(service) == []


def test_the_operator_has_nothing_to_refuse(objects: list[Manifest]) -> None:
    assert operator_rules.broken_rules(only(objects, "RayService")) == []


def test_each_rule_of_the_operator_finds_its_mistake() -> None:
    service = only(overlay("prod"), "RayService")
    service["metadata"]["name"] = "x" * 48
    service["spec"]["upgradeStrategy"]["type"] = "RollingUpdate"
    cluster = service["spec"]["rayClusterConfig"]
    gateway, control, replica = cluster["workerGroupSpecs"]
    gateway["minReplicas"] = 9
    control["rayStartParams"] = {"labels": "a=b"}
    replica["template"]["spec"]["restartPolicy"] = "Always"
    head = cluster["headGroupSpec"]
    head["rayStartParams"]["redis-password"] = "secret"
    head["resources"] = {"CPU": "0"}
    head["template"]["spec"]["containers"][0]["env"].append(
        {"name": "RAY_REDIS_ADDRESS", "value": "x"}
    )
    broken = operator_rules.broken_rules(service)
    for word in ("longer than 47", "RollingUpdate", "minReplicas 9", "labels", "Always"):
        assert any(word in sentence for sentence in broken), word
    for word in ("redis-password", "RAY_REDIS_ADDRESS", "resources in rayStartParams"):
        assert any(word in sentence for sentence in broken), word


@pytest.mark.parametrize("name", OVERLAYS)
def test_checkov_finds_nothing_that_is_not_answered(name: str, tmp_path: Path) -> None:
    path = written(pods(overlay(name)), tmp_path / "pods.yaml")
    verdict = checked(path)
    assert verdict[0] == 0, verdict[1]


def test_checkov_finds_a_privileged_container(tmp_path: Path) -> None:
    objects = overlay("prod")
    pod(objects, "replica")["spec"]["containers"][0]["securityContext"]["privileged"] = True
    assert "CKV_K8S_16" in checked(written(pods(objects), tmp_path / "pods.yaml"))[1]


def checked(path: Path) -> tuple[int, str]:
    skips = ",".join(CHECKOV_SKIPS)
    verdict = run(
        *("checkov", "--framework", "kubernetes", "--compact", "--quiet"),
        *("--skip-download", "--skip-check", skips, "-f", path),
    )
    return verdict.returncode, said(verdict)


def test_yaml_is_clean(tmp_path: Path) -> None:
    assert said(lint(DEPLOY)) == ""
    spoilt = tmp_path / "spoilt.yaml"
    spoilt.write_text("a: 1\na: 2\n")
    assert "duplication" in said(lint(spoilt))


def lint(path: Path) -> CompletedProcess[str]:
    return run("yamllint", "--strict", "-c", DEPLOY / ".yamllint", path)
