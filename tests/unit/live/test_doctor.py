"""What the doctor finds, check by check; what it says never holds a secret."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator.__main__ import blockyard
from orchestrator.live.doctor.doors import check_doors
from orchestrator.live.doctor.finding import Finding, Level
from orchestrator.live.doctor.machine import check_machine
from orchestrator.live.doctor.secrets import check_secrets
from orchestrator.live.doctor.subject import NoSubject, Subject, read_serve_config, validated

PASSWORD = "not-to-be-seen"
URL = f"redis://someone:{PASSWORD}@registry.example:6379/0"
TOKEN = {"RAY_AUTH_MODE": "token"}
KEY = '[[key]]\nname = "a"\ntenant = "acme"\nsha256 = "{}"\n'.format("0" * 64)


def subject(**args: Any) -> Subject:
    return Subject(validated({"redis_url": "env:REGISTRY", "model": "tiny", **args}))


def levels(findings: Iterable[Finding], check: str) -> set[Level]:
    """Of one check; it is an error of the test if that found nothing."""
    found = {finding.level for finding in findings if finding.check == check}
    assert found, f"nothing was said about {check}"
    return found


def written(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("host", "level"),
    [
        ("127.0.0.1", Level.NOTE),
        ("::1", Level.NOTE),
        ("localhost", Level.NOTE),
        ("0.0.0.0", Level.UNSAFE),
        ("::", Level.UNSAFE),
        ("10.1.2.3", Level.UNSAFE),
    ],
)
def test_no_keys_are_unsafe_where_strangers_reach_the_door(host: str, level: Level) -> None:
    findings = list(check_doors(subject(host=host, ui=True)))
    assert levels(findings, "keys") == {level}
    assert levels(findings, "page") == {level}
    assert all(finding.remedy for finding in findings if finding.level is Level.UNSAFE)


def test_open_ports_of_members_are_unsafe() -> None:
    assert levels(check_doors(subject(host="0.0.0.0")), "members") == {Level.UNSAFE}
    assert levels(check_doors(subject()), "members") == {Level.OK}


def test_keys_are_examined(tmp_path: Path) -> None:
    good = written(tmp_path / "keys.toml", KEY + "is_operator = true\n")
    assert levels(check_doors(subject(keys_file=good)), "keys") == {Level.OK}
    plain = written(tmp_path / "plain.toml", KEY)
    assert levels(check_doors(subject(keys_file=plain)), "keys") == {Level.OK, Level.NOTE}
    over = written(tmp_path / "over.toml", KEY + "expires = 2020-01-01T00:00:00Z\n")
    assert levels(check_doors(subject(keys_file=over)), "keys") == {Level.WARNING}


@pytest.mark.parametrize("content", ["", f"key = {PASSWORD!r}", f"{PASSWORD} = ["])
def test_a_keys_file_that_opens_nothing_is_said_without_its_content(
    tmp_path: Path, content: str
) -> None:
    path = written(tmp_path / "keys.toml", content)
    findings = list(check_doors(subject(keys_file=path)))
    assert levels(findings, "keys") == {Level.UNSAFE}
    assert PASSWORD not in str(findings)


def test_a_keys_file_that_is_not_there_is_unsafe(tmp_path: Path) -> None:
    findings = check_doors(subject(keys_file=tmp_path / "nowhere.toml"))
    assert levels(findings, "keys") == {Level.UNSAFE}


def test_what_a_config_file_mounts_elsewhere_cannot_be_looked_at_from_here(tmp_path: Path) -> None:
    paths = {
        "keys_file": tmp_path / "pod" / "keys.toml",
        "tls": tmp_path / "pod" / "tls",
        "internal_tls": tmp_path / "pod" / "internal",
    }
    here = subject(host="0.0.0.0", ui=True, **paths)
    for check in ("keys", "page", "tls", "members"):
        assert levels(check_doors(here), check) == {Level.UNSAFE}
    elsewhere = Subject(here.deployment, config=tmp_path / "serve.yaml")
    for check in ("keys", "page", "tls", "members"):
        assert levels(check_doors(elsewhere), check) == {Level.WARNING}
    (tmp_path / "pod" / "tls").mkdir(parents=True)
    (tmp_path / "pod" / "internal").mkdir()
    written(tmp_path / "pod" / "keys.toml", "[")
    for check in ("keys", "tls", "members"):
        assert levels(check_doors(elsewhere), check) == {Level.UNSAFE}


def test_whoever_may_change_the_keys_may_come_in(tmp_path: Path) -> None:
    path = written(tmp_path / "keys.toml", KEY, mode=0o644)
    assert levels(check_secrets(subject(keys_file=path), TOKEN), "files") == {Level.OK}
    path.chmod(0o666)
    assert levels(check_secrets(subject(keys_file=path), TOKEN), "files") == {Level.UNSAFE}


@pytest.mark.parametrize(
    ("mode", "level"), [(0o600, Level.OK), (0o640, Level.WARNING), (0o662, Level.UNSAFE)]
)
def test_a_private_key_is_private(tmp_path: Path, mode: int, level: Level) -> None:
    written(tmp_path / "tls.key", "-", mode=mode)
    assert levels(check_secrets(subject(tls=tmp_path), TOKEN), "files") == {level}


def test_one_folder_for_both_uses_is_spoken_of_once(tmp_path: Path) -> None:
    written(tmp_path / "tls.key", "-")
    both = subject(tls=tmp_path, internal_tls=tmp_path)
    found = [each for each in check_secrets(both, TOKEN) if each.check == "files"]
    assert len(found) == 1


def test_a_certificate_is_good_until_it_ends(tmp_path: Path) -> None:
    made = CliRunner().invoke(blockyard, ["certs", "--out", str(tmp_path / "made")])
    assert made.exit_code == 0, made.output
    folders = {"tls": tmp_path / "made" / "doors", "internal_tls": tmp_path / "made" / "internal"}
    given = subject(host="0.0.0.0", **folders)
    now = datetime.now(UTC)
    for check in ("tls", "members"):
        assert levels(check_doors(given, now), check) == {Level.OK}
        late = now + timedelta(days=365 * 100)
        assert levels(check_doors(given, late), check) == {Level.UNSAFE}


def test_a_folder_without_certificates_is_unsafe(tmp_path: Path) -> None:
    findings = list(check_doors(subject(tls=tmp_path, internal_tls=tmp_path)))
    assert levels(findings, "tls") == levels(findings, "members") == {Level.UNSAFE}


def test_a_clear_door_is_a_warning_where_a_proxy_may_stand_before_it() -> None:
    assert levels(check_doors(subject(host="0.0.0.0")), "tls") == {Level.WARNING}


def test_a_password_belongs_neither_in_a_file_nor_on_a_command_line(tmp_path: Path) -> None:
    path = written(
        tmp_path / "serve.yaml",
        "applications:\n- import_path: orchestrator.live.app:build\n"
        f"  args: {{redis_url: '{URL}', host: 0.0.0.0}}\n",
    )
    in_file = list(check_secrets(read_serve_config(path), TOKEN))
    on_line = list(check_secrets(subject(redis_url=URL), TOKEN))
    for findings in (in_file, on_line):
        assert levels(findings, "secrets") == {Level.UNSAFE}
        assert PASSWORD not in str(findings)
    assert not [f for f in check_secrets(subject(), TOKEN) if f.check == "secrets"]


def test_ray_without_its_token_is_unsafe() -> None:
    assert levels(check_secrets(subject(), TOKEN), "ray") == {Level.OK}
    assert levels(check_secrets(subject(), {"RAY_AUTH_MODE": "disabled"}), "ray") == {Level.UNSAFE}


def test_a_manifest_of_a_ray_service_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "ray.yaml",
        "kind: Namespace\n---\nspec:\n  serveConfigV2: |\n    applications:\n"
        "    - import_path: orchestrator.live.app:build\n"
        "      args: {redis_url: 'env:URL', host: 0.0.0.0, blocks: 7}\n",
    )
    read = read_serve_config(path)
    assert (read.deployment.blocks, read.is_local) == (7, False)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "applications: []",
        "- [",
        "applications: [{import_path: 'other:app'}]",
        "applications: [{import_path: 'orchestrator.live.app:build', args: "
        f"{{redis_url: '{URL}', blocks: 0}}}}]",
        "applications: [{import_path: 'orchestrator.live.app:build', args: "
        f"{{redis_url: '{URL}', min_replicas: 9}}}}]",
    ],
)
def test_what_is_no_deployment_is_said_without_its_secrets(tmp_path: Path, content: str) -> None:
    path = written(tmp_path / "serve.yaml", content)
    with pytest.raises(NoSubject) as refusal:
        read_serve_config(path)
    assert PASSWORD not in str(refusal.value)


def test_a_model_that_is_not_there_will_not_start() -> None:
    assert levels(check_machine(subject(model="/nowhere")), "model") == {Level.UNSAFE}


def test_more_blocks_than_memory_are_a_warning() -> None:
    assert levels(check_machine(subject(blocks=100)), "memory") == {Level.OK}
    assert levels(check_machine(subject(blocks=10**12)), "memory") == {Level.WARNING}
