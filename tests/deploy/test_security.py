"""What the namespace's Pod Security level and the closed network leave open."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.rendering import OVERLAYS, Manifest, only, overlay, pod, pods

RESTRICTED_VOLUMES = {
    *("configMap", "emptyDir", "secret", "projected", "downwardAPI", "persistentVolumeClaim"),
}


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return overlay(request.param)


def too_open(spec: dict[str, Any]) -> list[str]:
    """What the level `restricted` would refuse, and a writable root."""
    of_pod = spec.get("securityContext", {})
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    if of_pod.get("runAsNonRoot") is not True or of_pod.get("runAsUser") == 0:
        found.append("may be root")
    if of_pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        found.append("no seccomp profile")
    for volume in spec.get("volumes", ()):
        if not RESTRICTED_VOLUMES & volume.keys():
            found.append(f"volume {volume['name']}")
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        context = container.get("securityContext", {})
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            found.append("may escalate")
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append("keeps capabilities")
        if context["capabilities"].get("add"):
            found.append("adds capabilities")
        if context.get("readOnlyRootFilesystem") is not True:
            found.append("writable root")
        if any("hostPort" in port for port in container.get("ports", ())):
            found.append("host port")
    return found


def test_the_namespace_enforces_the_restricted_level(objects: list[Manifest]) -> None:
    labels = only(objects, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_pod_keeps_to_the_restricted_level(objects: list[Manifest]) -> None:
    found = {p["metadata"]["name"]: too_open(p["spec"]) for p in pods(objects)}
    assert len(found) == 5
    assert {name: what for name, what in found.items() if what} == {}


def test_the_autoscaler_beside_the_head_keeps_to_it_too(objects: list[Manifest]) -> None:
    """The operator adds this container to the head's pod, with the context it is given."""
    options = only(objects, "RayService")["spec"]["rayClusterConfig"]["autoscalerOptions"]
    head = pod(objects, "head")["spec"]["containers"][0]
    assert options["securityContext"] == head["securityContext"]
    assert {"name": "tmp", "mountPath": "/tmp"} in options["volumeMounts"]


def test_a_pod_that_is_too_open_is_found() -> None:
    spec = pod(overlay("prod"), "replica")["spec"]
    spec["hostNetwork"] = True
    spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
    assert too_open(spec) == ["hostNetwork", "volume host", "writable root"]


def test_no_ray_pod_fixes_a_uid(objects: list[Manifest]) -> None:
    for role in ("head", "gateway", "control-plane", "replica"):
        assert "runAsUser" not in pod(objects, role)["spec"]["securityContext"]


def test_only_the_head_may_speak_to_the_api_server(objects: list[Manifest]) -> None:
    """Its autoscaler must; nobody else has a token to speak with."""
    with_token = {
        p["metadata"]["labels"]["blockyard/role"]
        for p in pods(objects)
        if p["spec"].get("automountServiceAccountToken", True)
    }
    assert with_token == {"head"}


def test_the_model_is_mounted_to_be_read() -> None:
    objects = overlay("prod")
    for role in ("gateway", "replica"):
        spec = pod(objects, role)["spec"]
        (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "models"]
        (volume,) = [v for v in spec["volumes"] if v["name"] == "models"]
        assert mount["readOnly"] is True
        assert volume["persistentVolumeClaim"]["readOnly"] is True


def test_gpus_are_asked_for_and_limited_alike() -> None:
    resources = pod(overlay("prod"), "replica")["spec"]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"]["nvidia.com/gpu"] == "1"


def test_everything_is_denied_that_no_policy_allows() -> None:
    deny = only(overlay("prod"), "NetworkPolicy", "deny-all")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_clients_reach_the_gateways_front_doors_and_nothing_else() -> None:
    objects = overlay("prod")
    policy = only(objects, "NetworkPolicy", "gateway-from-clients")["spec"]
    (rule,) = policy["ingress"]
    service = only(objects, "Service", "blockyard-gateway")["spec"]
    container = pod(objects, "gateway")["spec"]["containers"][0]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {p["port"] for p in rule["ports"]} == {named[p["targetPort"]] for p in service["ports"]}
    assert policy["podSelector"]["matchLabels"].items() <= service["selector"].items()


def test_every_policy_and_budget_selects_pods_that_exist() -> None:
    objects = overlay("prod")
    labels = [p["metadata"]["labels"] for p in pods(objects)]
    for owner in objects:
        selector = owner.get("spec", {}).get("podSelector") or owner.get("spec", {}).get("selector")
        if owner["kind"] in {"NetworkPolicy", "PodDisruptionBudget", "PodMonitor"} and selector:
            chosen = [one for one in labels if selects(selector, one)]
            assert chosen, owner["metadata"]["name"]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(
        labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", ())
    )
