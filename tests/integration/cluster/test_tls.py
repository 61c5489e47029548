"""A cluster of processes that were given certificates, and the commands of whoever uses it.

What each port refuses is in tests/integration/tls; here the options reach every
process, and every command reaches the cluster.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster.watched import Watched
from tests.waiting import wait_for

OF_GRPC = re.compile(r"[IWE]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] ")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the command; the front door asks clients for theirs."""
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    run("certs", "--out", str(folder), "--ask-clients", trusts=None)
    return folder


class InJson(Watched):
    """Its members log for programs."""

    def _add(self, name: str, words: tuple[str, ...]) -> str:
        return super()._add(name, (*words, "--log-format=json"))


@pytest.fixture(scope="module")
def encrypted(certificates: Path) -> Iterator[Watched]:
    with InJson(certificates=certificates) as processes:
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


def test_top_says_how_a_gateway_gets_its_page(encrypted: Watched, certificates: Path) -> None:
    url = encrypted.gateways[0].address
    top = run("top", "--once", "--url", url, trusts=certificates)
    assert (top.returncode, top.stdout) == (1, "")
    assert "no live page; start it with --ui" in top.stderr


def test_every_line_of_a_members_log_is_json_where_that_is_asked_for(
    encrypted: Watched, certificates: Path
) -> None:
    url = encrypted.gateways[0].address
    chat = run("chat", "--url", url, "--max-tokens", "4", "in json", trusts=certificates)
    assert chat.returncode == 0, chat.stderr

    def say_all() -> bool:
        messages = {name: set(logged(member.log)) for name, member in encrypted.members.items()}
        return (
            "request ended" in messages["gateway-0"]
            and "choice ended" in messages["a"] | messages["b"]
            and any(said.startswith("leads") for said in messages["control-0"])
        )

    wait_for(say_all, within_s=60, what="lines that tell of a request, of its choice and who leads")


def logged(log: Path) -> Iterator[str]:
    """The messages of a log in JSON; gRPC's core writes past every logger of Python's."""
    for line in log.read_text().splitlines():
        if not OF_GRPC.match(line):
            yield json.loads(line)["message"]
