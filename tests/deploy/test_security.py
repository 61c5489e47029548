"""What pods may do to their nodes: what the namespace's Pod Security level leaves, and less."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deploy.rendering import OVERLAYS, RENDERINGS, Manifest, only, overlay, pod, pods

RESTRICTED_VOLUMES = {
    *("configMap", "emptyDir", "secret", "projected", "downwardAPI", "persistentVolumeClaim"),
}
# Of a pod or of a container; the level allows harmless ones, and ours need none.
UNUSED = ("procMount", "seLinuxOptions", "sysctls", "windowsOptions", "appArmorProfile")


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return overlay(request.param)


def too_open(spec: dict[str, Any]) -> list[str]:
    """What the level `restricted` would refuse, and a writable root."""
    of_pod = spec.get("securityContext", {})
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    found += _of_context(of_pod)
    for volume in spec.get("volumes", ()):
        if not RESTRICTED_VOLUMES & volume.keys():
            found.append(f"volume {volume['name']}")
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind, ()):
            context = container.get("securityContext", {})
            found += _of_context({**of_pod, **context})
            found += _of_container(container, context)
    return found


def _of_context(context: dict[str, Any]) -> Iterator[str]:
    """What a pod says for its containers, and a container may say against its pod."""
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may be root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    yield from (key for key in UNUSED if key in context)


def _of_container(container: dict[str, Any], context: dict[str, Any]) -> Iterator[str]:
    capabilities = context.get("capabilities", {})
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield "may escalate"
    if capabilities.get("drop") != ["ALL"]:
        yield "keeps capabilities"
    if capabilities.get("add"):
        yield "adds capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "writable root"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "host port"


def test_the_namespace_enforces_the_restricted_level(objects: list[Manifest]) -> None:
    labels = only(objects, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
def test_every_pod_keeps_to_the_restricted_level(rendering: Callable[[], list[Manifest]]) -> None:
    found = {p["metadata"]["name"]: too_open(p["spec"]) for p in pods(rendering())}
    assert len(found) >= 4
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


@pytest.mark.parametrize(
    ("context", "what"),
    [
        ({"runAsUser": 0}, "may be root"),
        ({"runAsNonRoot": False}, "may be root"),
        ({"seccompProfile": {"type": "Unconfined"}}, "no seccomp profile"),
        ({"procMount": "Unmasked"}, "procMount"),
        ({"appArmorProfile": {"type": "Unconfined"}}, "appArmorProfile"),
        ({"allowPrivilegeEscalation": True}, "may escalate"),
        ({"privileged": True}, "may escalate"),
        ({"capabilities": {"drop": ["NET_RAW"]}}, "keeps capabilities"),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "adds capabilities"),
    ],
)
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_a_container_that_is_more_open_than_its_pod_is_found(
    kind: str, context: dict[str, Any], what: str
) -> None:
    spec = pod(overlay("prod"), "replica")["spec"]
    container = copy.deepcopy(spec["containers"][0])
    container["securityContext"].update(context)
    spec[kind] = [container]
    assert too_open(spec) == [what]


@pytest.mark.parametrize(
    ("context", "what"),
    [
        ({"runAsUser": 0}, "may be root"),
        ({"runAsNonRoot": None}, "may be root"),
        ({"seccompProfile": {}}, "no seccomp profile"),
        ({"sysctls": []}, "sysctls"),
    ],
)
def test_a_pod_that_is_open_for_its_containers_is_found(context: dict[str, Any], what: str) -> None:
    spec = pod(overlay("prod"), "replica")["spec"]
    spec["securityContext"].update(context)
    assert set(too_open(spec)) == {what}


def test_a_container_that_says_nothing_is_found() -> None:
    spec = pod(overlay("prod"), "replica")["spec"]
    del spec["containers"][0]["securityContext"]
    assert too_open(spec) == ["may escalate", "keeps capabilities", "writable root"]


def test_no_ray_pod_fixes_a_uid(objects: list[Manifest]) -> None:
    for role in ("head", "gateway", "control-plane", "replica"):
        spec = pod(objects, role)["spec"]
        for level in (spec, *spec["containers"]):
            assert "runAsUser" not in level["securityContext"]


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
