"""What the doctor says of production as it is shipped: what its documents say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.__main__ import blockyard
from tests.deploy.rendering import CHART_VALUES, Manifest, chart, overlay, written
from tests.deploy.tools import DEPLOY

TROUBLES = ("warning", "unsafe")
OF_THIS_MACHINE = {"files", "compiler", "gpu", "model", "memory"}
# Each is explained in deploy/README.md.
KNOWN = {
    ("warning", "keys"),  # in a Secret, and cannot be looked at from here
    ("warning", "tls"),  # which ends at the Gateway
    ("unsafe", "members"),  # until components/mtls is used
    ("warning", "registry"),  # its URL is in a Secret
}


@pytest.fixture(autouse=True)
def from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKYARD_REDIS_URL", raising=False)


def troubles(objects: list[Manifest], folder: Path) -> tuple[int, set[tuple[str, str]]]:
    """The command's exit status, and what it found amiss with more than this machine."""
    path = written(objects, folder / "blockyard.yaml")
    result = CliRunner().invoke(blockyard, ["doctor", "--json", "--config", str(path)])
    found = [(each["level"], each["check"]) for each in json.loads(result.output)["findings"]]
    unsafe_here = {check for level, check in found if level == "unsafe"} & OF_THIS_MACHINE
    assert unsafe_here == set(), "another machine will run it"
    return result.exit_code, {
        (level, check)
        for level, check in found
        if level in TROUBLES and check not in OF_THIS_MACHINE
    }


def test_production_is_as_its_documents_say(tmp_path: Path) -> None:
    assert troubles(overlay("prod"), tmp_path) == (1, KNOWN)


def test_the_chart_is_as_its_documents_say(tmp_path: Path) -> None:
    assert troubles(chart(CHART_VALUES["prod"]), tmp_path) == (1, KNOWN)


def test_with_mtls_production_is_safe(tmp_path: Path) -> None:
    objects = chart(CHART_VALUES["prod"], "mtls.enabled=true")
    safe = KNOWN - {("unsafe", "members")} | {("warning", "members")}
    assert troubles(objects, tmp_path) == (0, safe)


def test_the_choice_is_told_where_it_is_made() -> None:
    for path in (DEPLOY / "overlays" / "prod" / "kustomization.yaml", DEPLOY / "README.md"):
        text = path.read_text()
        assert "blockyard doctor --config" in text and "mtls" in text, path
