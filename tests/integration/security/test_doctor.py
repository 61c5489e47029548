"""The doctor before a real registry, and as a command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from orchestrator.__main__ import blockyard
from orchestrator.live.doctor.finding import Finding, Level
from orchestrator.live.doctor.registry import check_registry
from orchestrator.live.doctor.subject import Subject, validated
from orchestrator.live.valkey import EmbeddedValkey
from tests.ports import free_ports

PASSWORD = "not-to-be-seen"


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


async def found(url: str) -> list[Finding]:
    """What is said of the registry at the URL, which processes find in their environment."""
    subject = Subject(validated({"redis_url": "env:REGISTRY"}))
    findings = [each async for each in check_registry(subject, {"REGISTRY": url})]
    assert PASSWORD not in str(findings)
    return findings


def by_message(findings: list[Finding], words: str) -> Level:
    (level,) = {finding.level for finding in findings if words in finding.message}
    return level


@pytest.mark.redis
async def test_a_user_that_may_do_everything_is_a_warning(valkey: EmbeddedValkey) -> None:
    findings = await found(valkey.url)
    assert by_message(findings, "answers") is Level.OK
    assert by_message(findings, "keys of others") is Level.WARNING
    assert by_message(findings, "agree on the time") is Level.OK


@pytest.mark.redis
async def test_a_server_that_forgets_is_a_warning(valkey: EmbeddedValkey) -> None:
    admin = Redis.from_url(valkey.url)
    await admin.config_set("maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    await admin.aclose()
    assert by_message(await found(valkey.url), "evicts") is Level.WARNING


@pytest.mark.redis
async def test_a_user_that_is_confined_is_well(valkey: EmbeddedValkey) -> None:
    admin = Redis.from_url(valkey.url)
    grants = "%R~orch:* +@connection +mget +hgetall +get"
    command = ["ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", *grants.split()]
    await admin.execute_command(*command)  # type: ignore[no-untyped-call]
    await admin.aclose()
    findings = await found(valkey.url.replace("//", f"//gateway:{PASSWORD}@"))
    assert by_message(findings, "confined") is Level.OK
    assert {finding.level for finding in findings} == {Level.OK}


@pytest.mark.redis
async def test_a_wrong_password_is_said_without_it(valkey: EmbeddedValkey) -> None:
    findings = await found(valkey.url.replace("//", f"//nobody:{PASSWORD}@"))
    assert by_message(findings, "does not answer") is Level.WARNING


async def test_a_registry_that_is_away_is_a_warning() -> None:
    (port,) = free_ports(1)
    findings = await found(f"redis://127.0.0.1:{port}/0")
    assert by_message(findings, "does not answer") is Level.WARNING


async def test_no_password_on_the_way_to_another_machine_is_unsafe() -> None:
    findings = await found("redis://registry.invalid:6379/0")
    assert by_message(findings, "no password") is Level.UNSAFE
    assert by_message(findings, "in the clear") is Level.WARNING


def told(*words: str) -> tuple[int, list[dict[str, Any]]]:
    """The command's exit status and its findings."""
    names = ("--http-port", "--grpc-port", "--control-port")
    ports = [word for name, port in zip(names, free_ports(3), strict=True) for word in (name, port)]
    line = ["doctor", "--json", "--model", "tiny", *map(str, ports), *words]
    result = CliRunner().invoke(blockyard, line)
    assert PASSWORD not in result.output
    return result.exit_code, json.loads(result.output)["findings"]


def test_what_up_starts_by_itself_is_safe(tmp_path: Path) -> None:
    status, findings = told()
    assert status == 0, findings
    assert {finding["level"] for finding in findings} <= {"ok", "note", "warning"}


def test_what_is_unsafe_shows_in_the_exit_status(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    status, findings = told("--redis", f"redis://:{PASSWORD}@127.0.0.1:{port}/0")
    assert status == 1
    assert [f["remedy"] for f in findings if f["level"] == "unsafe"], "it says what to do"
