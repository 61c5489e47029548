"""A judge that was promised and is gone is a failure; one that nobody promised is a skip."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.tools import HINTS, ROOT, program
from tests.judges import PROMISED

SCRIPT = ROOT / ".ci" / "judges"
# What the script itself runs, less what would reach for the world.
WORDS = ("bash", "cat", "chmod", "dirname", "env", "tail", "uname")


@pytest.fixture
def without_helm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setattr("tests.deploy.tools.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HELM", raising=False)
    return monkeypatch


@pytest.mark.parametrize("promised", ["", "checkov promtool", "helmet"])
def test_a_judge_that_nobody_promised_is_a_skip(
    without_helm: pytest.MonkeyPatch, promised: str
) -> None:
    without_helm.setenv(PROMISED, promised)
    with pytest.raises(pytest.skip.Exception, match="helm is not installed: put helm on the PATH"):
        program("helm")


def test_a_promised_judge_that_is_gone_is_a_failure(without_helm: pytest.MonkeyPatch) -> None:
    without_helm.setenv(PROMISED, "checkov helm")
    with pytest.raises(pytest.fail.Exception, match=r"helm is not installed.*promises it"):
        program("helm")


def test_every_judge_is_promised_by_the_script_under_the_name_that_tests_use() -> None:
    text = SCRIPT.read_text()
    (wheels,) = re.findall(r"^promised=\((.*)\)$", text, re.MULTILINE)
    asked = set(re.findall(r"^(?:if .*; then )?(?:bring|from_debian) ([\w-]+)", text, re.MULTILINE))
    assert asked | set(wheels.split()) == {*HINTS, "cel-python", "chromium", "redis-server"}


@pytest.fixture
def poor(tmp_path: Path) -> Path:
    """A machine without a network: no apt for this user, and a pip that fails."""
    for word in WORDS:
        found = shutil.which(word)
        assert found is not None
        (tmp_path / word).symlink_to(found)
    for name, script in (
        ("id", "echo 1000"),
        ("python3", "echo no index answers; exit 1"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def judges(machine: Path) -> tuple[int, str, str]:
    """How the script ends, what it says and what it leaves."""
    folder = machine / "folder"
    folder.mkdir()
    verdict = subprocess.run(
        [SCRIPT, folder], env={"PATH": str(machine)}, capture_output=True, text=True, timeout=60
    )
    return verdict.returncode, verdict.stdout + verdict.stderr, (folder / "env").read_text()


def promised_by(env: str) -> set[str]:
    (words,) = re.findall(rf"^export {PROMISED}='(.*)'$", env, re.MULTILINE)
    return set(words.split())


def test_the_script_fails_loudly_where_something_promised_does_not_come(poor: Path) -> None:
    code, told, env = judges(poor)
    assert code == 1
    assert "checkov was promised and did not come:\nno index answers" in told
    assert {"checkov", "kubectl"} <= promised_by(env), "or their tests would skip"


def test_the_script_names_what_cannot_be_had_and_does_not_promise_it(poor: Path) -> None:
    _, told, env = judges(poor)
    for name in ("chromium", "redis-server", "promtool"):
        assert f"no {name} (apt reaches no packages, or may install none)" in told
        assert name not in promised_by(env)


def test_the_script_promises_what_is_there_already(poor: Path) -> None:
    for name in ("chromium", "redis-server", "promtool", "helm", "checkov"):
        (poor / name).symlink_to(poor / "id")
    code, told, env = judges(poor)
    assert (code, told) == (0, "")
    assert promised_by(env) >= {"chromium", "redis-server", "promtool", "helm", "checkov"}
