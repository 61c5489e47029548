"""kubectl is called with namespace and context, and its failures are told in its own words."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.live.chaos.kubectl import (
    Command,
    Kubectl,
    KubectlFailed,
    KubectlOptions,
    Permission,
)

GET = Command(("get", "pods"))


@pytest.fixture
def does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Puts a kubectl on the PATH that does what it is told in Python."""
    program = tmp_path / "program.py"
    script = tmp_path / "kubectl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return program.write_text


KUBECTL = Kubectl(KubectlOptions("ns"))


def test_a_command_line_names_context_and_namespace() -> None:
    with_context = Kubectl(KubectlOptions("ns", context="kind"))
    assert KUBECTL.argv(GET) == ("kubectl", "--namespace", "ns", "get", "pods")
    assert with_context.argv(GET)[:3] == ("kubectl", "--context", "kind")


async def test_input_goes_in_and_output_comes_out(does: Callable[[str], object]) -> None:
    does("import sys; print(sys.argv[1:], sys.stdin.read())")
    output = await KUBECTL.run(Command(("create",), stdin="{}"))
    assert output.strip() == "['--namespace', 'ns', 'create'] {}"


async def test_the_last_sentence_of_a_failure_is_told(does: Callable[[str], object]) -> None:
    does("import sys; sys.exit('Warning: old\\nerror: pods \"x\" not found')")
    with pytest.raises(KubectlFailed, match=r'^kubectl get: pods "x" not found$'):
        await KUBECTL.run(GET)


async def test_a_command_that_did_not_do_its_work_failed_whatever_its_status(
    does: Callable[[str], object],
) -> None:
    does("print('sh: tc: not found')")
    with pytest.raises(KubectlFailed, match="tc: not found"):
        await KUBECTL.run(Command(("debug",), last_word="over"))


async def test_a_command_without_an_end_is_ended(does: Callable[[str], object]) -> None:
    does("import time; time.sleep(600)")
    with pytest.raises(KubectlFailed, match=r"no end within 0\.2 s"):
        await KUBECTL.run(Command(("get",), within_s=0.2))


async def test_no_kubectl_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KubectlFailed, match="cannot be run"):
        await KUBECTL.run(GET)


@pytest.mark.parametrize(("answer", "may"), [("yes", True), ("no - not yours", False)])
async def test_a_no_is_an_answer(does: Callable[[str], object], answer: str, may: bool) -> None:
    does(f"import sys; print({answer!r}); sys.exit({int(not may)})")
    assert await KUBECTL.may(Permission("create", "pods", "exec")) is may


async def test_silence_about_a_permission_is_a_failure(does: Callable[[str], object]) -> None:
    does("import sys; sys.exit('Unable to connect to the server')")
    with pytest.raises(KubectlFailed, match="Unable to connect"):
        await KUBECTL.may(Permission("create", "pods"))
