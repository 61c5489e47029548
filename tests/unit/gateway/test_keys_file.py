from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.gateway.caller import ALL_CLASSES, Limits
from orchestrator.gateway.errors import Unauthenticated
from orchestrator.gateway.key_metrics import KeyCollector
from orchestrator.gateway.keyring import Keys, key_digest
from orchestrator.gateway.keys_file import BYTES_MAX, BadKeysFile, KeysFile, parse_keys
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock
from orchestrator.live.commands.keys import keys as keys_command
from protos.messages import RequestClass

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "by-5ecret"


def entry(key: str, *, name: str = "acme-1", more: str = "") -> str:
    return (
        f'[[key]]\nname = "{name}"\nsha256 = "{key_digest(key).hex()}"\ntenant = "acme"\n{more}\n'
    )


def some_keys() -> Keys:
    return Keys(RateLimits(RateCounts(OsClock())))


def test_an_entry_says_whom_a_key_belongs_to_and_what_it_allows() -> None:
    more = (
        'classes = ["batch"]\nrequests_per_minute = 6\ntokens_per_minute = 1_000\n'
        "block_seconds_per_minute = 50\nexpires = 2030-01-01T00:00:00Z\nis_operator = true"
    )
    caller = parse_keys(entry(SECRET, more=more).encode()).caller(SECRET, NOW)
    assert (caller.name, caller.tenant, caller.is_operator) == ("acme-1", "acme", True)
    assert caller.classes == {RequestClass.BATCH}
    assert caller.limits == Limits(requests=6, tokens=1000, block_seconds=50)


def test_an_entry_that_says_little_limits_nothing() -> None:
    caller = parse_keys(entry(SECRET).encode()).caller(SECRET, NOW)
    assert caller.classes == ALL_CLASSES
    assert caller.limits == Limits()
    assert not caller.is_operator


def test_metrics_are_for_operators_unless_the_file_opens_them() -> None:
    assert not parse_keys(entry(SECRET).encode()).metrics_are_open
    assert not parse_keys(b'metrics = "operator"\n' + entry(SECRET).encode()).metrics_are_open
    assert parse_keys(b'metrics = "open"\n' + entry(SECRET).encode()).metrics_are_open


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "not UTF-8"),
        (b"[[key", "not TOML"),
        (f"\n\nkey {SECRET}".encode(), r"not TOML \(at line 3, column 5\)$"),
        (f'key = "{SECRET}'.encode(), r"not TOML \(at end of document\)$"),
        (b"", r"no \[\[key\]\]"),
        (b'metrics = "open"', r"no \[\[key\]\]"),
        (b'metrics = "secret"', "metrics"),
        (b"keys = []", "keys"),
        (entry(SECRET).replace("sha256", "key").encode(), "key.0"),
        (f'[[key]]\nname = "n"\ntenant = "t"\nsha256 = "{SECRET}"'.encode(), "key.0.sha256"),
        (entry(SECRET, more="requests_per_minute = 0").encode(), "requests_per_minute"),
        (entry(SECRET, more='classes = ["vip"]').encode(), "classes"),
        (entry(SECRET, more="classes = []").encode(), "classes"),
        (entry(SECRET, more="expires = 2030-01-01T00:00:00").encode(), "expires"),
        (entry(SECRET, name="a b").encode(), "name"),
        (entry(SECRET).replace('"acme"', '"a/b"').encode(), "tenant"),
        (entry(SECRET).replace('"acme"', '""').encode(), "tenant"),
        (entry(SECRET).replace('"acme"', r'"\u009b2J"').encode(), "tenant"),
        ((entry(SECRET) + entry("other")).encode(), "same name"),
    ],
)
def test_what_is_wrong_is_named_and_what_it_says_is_not_repeated(
    content: bytes, words: str
) -> None:
    with pytest.raises(BadKeysFile, match=words) as caught:
        parse_keys(content)
    assert SECRET not in str(caught.value)
    assert key_digest(SECRET).hex() not in str(caught.value)


def test_a_file_that_is_wrong_at_the_start_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadKeysFile, match="No such file"):
        KeysFile(tmp_path / "keys.toml", some_keys())
    (tmp_path / "keys.toml").touch()
    with pytest.raises(BadKeysFile, match=r"keys\.toml: it has no \[\[key\]\]"):
        KeysFile(tmp_path / "keys.toml", some_keys())
    (tmp_path / "keys.toml").write_bytes(b"#" * (BYTES_MAX + 1))
    with pytest.raises(BadKeysFile, match="larger"):
        KeysFile(tmp_path / "keys.toml", some_keys())


async def test_a_change_is_taken_over_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    path, keys = tmp_path / "keys.toml", some_keys()
    path.write_text(entry("first"))
    file = KeysFile(path, keys)
    collector = KeyCollector(keys, lambda: file.is_valid)

    def valid() -> float:
        (family,) = (f for f in collector.collect() if f.name == "blockyard_keys_file_valid")
        return float(family.samples[0].value)

    def opens(key: str) -> bool:
        try:
            keys.admit({"x-api-key": key}, NOW)
        except Unauthenticated:
            return False
        return True

    assert (opens("first"), opens("second"), valid()) == (True, False, 1)
    path.write_text(entry("second"))
    await file.look()
    assert (opens("first"), opens("second"), valid()) == (False, True, 1)
    for wrong in ("", "[[key", entry("first") * 2):
        path.write_text(wrong)
        await file.look()
        assert (opens("first"), opens("second"), valid()) == (False, True, 0)
    path.unlink()
    await file.look()
    assert (opens("second"), valid()) == (True, 0)
    path.write_text(entry("second"))
    await file.look()
    assert valid() == 1


async def test_a_secret_that_changes_by_its_link_is_noticed(tmp_path: Path) -> None:
    keys = some_keys()
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys.toml").write_text(entry(name))
        os.utime(tmp_path / name / "keys.toml", (0, 0))
    (tmp_path / "data").symlink_to("old")
    file = KeysFile(tmp_path / "data" / "keys.toml", keys)
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(tmp_path / "data")
    await file.look()
    assert keys.admit({"x-api-key": "new"}, NOW).tenant == "acme"


def test_a_new_key_is_printed_once_and_its_entry_has_only_the_digest() -> None:
    arguments = "new --tenant Größe --class batch --tokens-per-minute 7 --expires-days 1 --operator"
    made = CliRunner().invoke(keys_command, arguments.split())
    assert made.exit_code == 0, made.output
    key = made.stderr.split()[-1]
    assert key.startswith("by-")
    assert key not in made.stdout
    caller = parse_keys(made.stdout.encode()).caller(key, datetime.now(UTC))
    assert (caller.tenant, caller.is_operator, caller.limits.tokens) == ("Größe", True, 7)
    assert caller.classes == {RequestClass.BATCH}


def test_a_tenant_that_no_file_may_have_gets_no_key() -> None:
    made = CliRunner().invoke(keys_command, ["new", "--tenant", "x" * 500])
    assert made.exit_code == 2
    assert "tenant" in made.output


@pytest.mark.parametrize("days", ["0", "36501", "99999999999"])
def test_a_key_that_would_outlive_the_calendar_is_refused(days: str) -> None:
    made = CliRunner().invoke(keys_command, ["new", "--tenant", "acme", "--expires-days", days])
    assert made.exit_code == 2
    assert "--expires-days" in made.output
