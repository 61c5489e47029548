"""Components that no overlay uses build and are accepted like the others."""

from __future__ import annotations

import os
from pathlib import Path

from tests.deploy import custom_resources, operator_rules
from tests.deploy.rendering import OVERLAYS, only, parsed
from tests.deploy.tools import DEPLOY, run, said


def used_components() -> set[str]:
    return {
        component.name
        for overlay in OVERLAYS
        for component in (DEPLOY / "components").iterdir()
        if f"components/{component.name}"
        in (DEPLOY / "overlays" / overlay / "kustomization.yaml").read_text()
    }


def test_every_component_but_mtls_is_used_by_an_overlay() -> None:
    written = {folder.name for folder in (DEPLOY / "components").iterdir()}
    assert written - used_components() == {"mtls"}


def test_mtls_can_be_added_to_an_overlay(tmp_path: Path) -> None:
    here = os.path.relpath(DEPLOY, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{here}/overlays/prod]\ncomponents: [{here}/components/mtls]\n"
    )
    verdict = run("kubectl", "kustomize", tmp_path)
    assert verdict.returncode == 0, said(verdict)
    service = only(parsed(verdict.stdout), "RayService")
    assert service["spec"]["rayClusterConfig"]["tlsOptions"] == {"enabled": True}
    assert operator_rules.broken_rules(service) == []
    assert custom_resources.mistakes(service) == []
