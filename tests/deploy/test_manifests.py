"""Every overlay builds, and everybody who would refuse its objects is asked first.

A checker that accepts everything proves nothing: beside each verdict stands a
planted mistake that the same checker must find.
"""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.deploy import custom_resources, operator_rules
from tests.deploy.rendering import OVERLAYS, Manifest, only, overlay, pod, pods, written
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


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return overlay(request.param)


def judged(objects: list[Manifest], folder: Path) -> tuple[int, str]:
    """The verdict over Kubernetes's own kinds."""
    path = written([o for o in objects if "." not in o["apiVersion"].split("/")[0]], folder / "o")
    verdict = run("kubernetes-validate", "-k", KUBERNETES, "--strict", "--quiet", path)
    return verdict.returncode, said(verdict)


def is_custom(resource: Manifest) -> bool:
    return any(
        resource["apiVersion"].startswith(group)
        for group in ("ray.io", "gateway.networking.k8s.io", "monitoring.coreos.com")
    )


def test_kubernetes_knows_every_field_of_its_own_kinds(
    objects: list[Manifest], tmp_path: Path
) -> None:
    assert judged(objects, tmp_path) == (0, "")


def test_a_field_that_kubernetes_does_not_know_is_found(tmp_path: Path) -> None:
    objects = overlay("prod")
    only(objects, "StatefulSet")["spec"]["replica"] = 1
    assert judged(objects, tmp_path)[0] != 0


def test_kubernetes_knows_every_field_of_every_pod(objects: list[Manifest], tmp_path: Path) -> None:
    assert judged(pods(objects), tmp_path) == (0, "")


def test_a_misspelt_field_of_a_ray_pod_is_found(tmp_path: Path) -> None:
    objects = overlay("prod")
    pod(objects, "replica")["spec"]["toleration"] = []
    assert judged(pods(objects), tmp_path)[0] != 0


def test_custom_resources_are_what_their_operators_define(objects: list[Manifest]) -> None:
    custom = [resource for resource in objects if is_custom(resource)]
    assert "RayService" in {resource["kind"] for resource in custom}
    found = {r["metadata"]["name"]: custom_resources.mistakes(r) for r in custom}
    assert {name: mistakes for name, mistakes in found.items() if mistakes} == {}


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


def test_checkov_finds_nothing_that_is_not_answered(
    objects: list[Manifest], tmp_path: Path
) -> None:
    path = written(pods(objects), tmp_path / "pods.yaml")
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
