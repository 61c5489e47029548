"""What deploy/README.md tells an operator to type exists and is spelt right."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.rendering import by_name, overlay, parsed
from tests.deploy.tools import DEPLOY, ROOT, run, said

README = DEPLOY / "README.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
PATH = re.compile(r"\b(deploy/[\w./-]*\w)")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_is_shell(block: str) -> None:
    verdict = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert verdict.stderr == ""


def test_every_path_exists() -> None:
    named = set(PATH.findall(README.read_text()))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_overlay_of_ones_own_changes_all_that_it_says(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "blockyard").symlink_to(ROOT)
    mine = tmp_path / "my-cluster"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(example)
    rendered = run("kubectl", "kustomize", mine)
    assert rendered.returncode == 0, said(rendered)
    assert "registry.example.com" not in rendered.stdout
    assert "llm.example.com" not in rendered.stdout
    found = by_name(parsed(rendered.stdout))
    assert found.keys() == by_name(overlay("prod")).keys()
    claim = found["PersistentVolumeClaim", "blockyard-models"]["spec"]
    assert claim["storageClassName"] == "my-shared-class"
    gateway = found["Gateway", "blockyard"]["spec"]
    assert gateway["gatewayClassName"] == "my-gateway-class"
    names = [listener["hostname"] for listener in gateway["listeners"]]
    routes = [found[kind, "blockyard"]["spec"]["hostnames"] for kind in ("HTTPRoute", "GRPCRoute")]
    assert routes == [[name] for name in names]


def test_every_object_that_is_spoken_of_is_in_the_manifests() -> None:
    kinds = {
        "svc": "Service",
        "rayservice": "RayService",
        "pvc": "PersistentVolumeClaim",
        "statefulset": "StatefulSet",
    }
    found = by_name(overlay("prod"))
    spoken = re.findall(
        r"\b(svc|rayservice|pvc|statefulset)[/ ](blockyard[\w-]*)", README.read_text()
    )
    assert {kind for kind, _ in spoken} >= {"svc", "rayservice"}
    assert {(kind, name) for kind, name in spoken if (kinds[kind], name) not in found} == set()


def test_ports_that_are_forwarded_are_those_of_the_services() -> None:
    found = by_name(overlay("prod"))
    forwards = re.findall(r"port-forward svc/([\w-]+)((?: \d+:\d+)+)", README.read_text())
    assert forwards
    for name, pairs in forwards:
        ports = {port["port"] for port in found["Service", name]["spec"]["ports"]}
        assert {int(pair.split(":")[1]) for pair in pairs.split()} <= ports
