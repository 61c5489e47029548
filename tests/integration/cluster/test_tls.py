"""A cluster of processes that were given certificates, and the commands of whoever uses it.

What each port refuses is in tests/integration/tls; here the options reach every
process, and every command reaches the cluster.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster.watched import Watched


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the command; the front door asks clients for theirs."""
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    run("certs", "--out", str(folder), "--ask-clients", trusts=None)
    return folder


@pytest.fixture(scope="module")
def encrypted(certificates: Path) -> Iterator[Watched]:
    with Watched(certificates=certificates) as processes:
        processes.start(replicas=("a", "b"))
        yield processes


def run(*words: str, trusts: Path | None) -> subprocess.CompletedProcess[str]:
    """A command as it is typed, where `blockyard certs` says what to export."""
    exported = (
        {}
        if trusts is None
        else {
            "BLOCKYARD_TLS_CA": str(trusts / "client"),
            "BLOCKYARD_INTERNAL_TLS": str(trusts / "internal"),
        }
    )
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *words],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **exported},
        timeout=120,
    )


def test_every_command_reaches_a_cluster_that_is_all_tls(
    encrypted: Watched, certificates: Path
) -> None:
    url = encrypted.gateways[0].address
    assert url.startswith("https://")
    asked = ("chat", "--url", url, "--max-tokens", "8", "hello")
    chat = run(*asked, trusts=certificates)
    assert chat.returncode == 0, chat.stderr
    assert run(*asked, trusts=certificates).stdout == chat.stdout

    control = encrypted.control.address
    status = run("status", "--json", "--control", control, trusts=certificates)
    assert [r["replica"] for r in json.loads(status.stdout)["replicas"]] == ["a", "b"]
    drained = run("drain", "a", "--control", control, trusts=certificates)
    assert drained.returncode == 0, drained.stderr
    assert run("uncordon", "a", "--control", control, trusts=certificates).returncode == 0

    load = run(
        *("load", "--url", url, "--workload", "chat", "--rate", "4", "--seconds", "1"),
        *("--scale", "0.02"),
        trusts=certificates,
    )
    assert load.returncode == 0, load.stderr
    assert "failed" not in load.stderr


def test_who_was_not_given_any_is_told_in_a_sentence(encrypted: Watched) -> None:
    url, control = encrypted.gateways[0].address, encrypted.control.address
    for words in (("chat", "--url", url, "hello"), ("status", "--control", control)):
        told = run(*words, trusts=None)
        assert told.returncode == 1, told.stdout
        assert told.stderr.startswith("Error: no"), told.stderr
        assert "Traceback" not in told.stderr
