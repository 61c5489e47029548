"""`blockyard certs` writes what the options take, for its owner's eyes only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from orchestrator.__main__ import blockyard
from orchestrator.gateway.door_tls import DoorTls
from protos.certificates import CHAIN, KEY
from protos.transport import MEMBER, Transport
from protos.trust import trusting


def certs(out: Path, *words: str) -> Result:
    return CliRunner().invoke(blockyard, ["certs", "--out", str(out), *words])


def names_in(folder: Path) -> list[str]:
    (certificate,) = x509.load_pem_x509_certificates((folder / CHAIN).read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_its_folders_are_what_the_options_take(tmp_path: Path) -> None:
    made = certs(tmp_path / "tls", "--host", "llm.example.com", "--ask-clients")
    assert made.exit_code == 0, made.output
    assert Transport(tmp_path / "tls" / "internal").is_mutual
    assert DoorTls(tmp_path / "tls" / "doors").asks_clients
    assert trusting(tmp_path / "tls" / "client").cert_store_stats()["x509_ca"] == 1
    assert names_in(tmp_path / "tls" / "internal") == [MEMBER]
    assert {"127.0.0.1", "localhost", "llm.example.com"} <= set(names_in(tmp_path / "tls/doors"))
    for path in ("tls/doors", "tls/internal", "tls/client"):
        assert str(tmp_path / path) in made.output


def test_clients_are_asked_for_nothing_unless_told(tmp_path: Path) -> None:
    certs(tmp_path / "tls")
    assert not DoorTls(tmp_path / "tls" / "doors").asks_clients


def test_only_their_owner_reads_them_and_no_authority_leaves_its_key(tmp_path: Path) -> None:
    certs(tmp_path / "tls")
    files = [path for path in (tmp_path / "tls").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert sorted(path.parent.name for path in files if b"PRIVATE" in path.read_bytes()) == [
        "client",
        "doors",
        "internal",
    ]
    assert all(path.name == KEY for path in files if b"PRIVATE" in path.read_bytes())


def test_no_certificate_that_is_in_use_is_written_over(tmp_path: Path) -> None:
    certs(tmp_path / "tls")
    before = (tmp_path / "tls" / "internal" / KEY).read_bytes()
    again = certs(tmp_path / "tls")
    assert again.exit_code == 1
    assert "cannot write" in again.output and "File exists" in again.output
    assert (tmp_path / "tls" / "internal" / KEY).read_bytes() == before


@pytest.mark.parametrize("days", [1, 90])
def test_they_are_good_for_so_many_days(tmp_path: Path, days: int) -> None:
    certs(tmp_path / "tls", "--days", str(days))
    chain = (tmp_path / "tls" / "doors" / CHAIN).read_bytes()
    (certificate,) = x509.load_pem_x509_certificates(chain)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == days


@pytest.mark.parametrize("host", ["bad host!", "", "-a.b", "a..b", "a/b", "ö.example", "a" * 64])
def test_what_is_no_host_is_not_signed(tmp_path: Path, host: str) -> None:
    made = certs(tmp_path / "tls", "--host", host)
    assert made.exit_code == 2
    assert "neither a DNS name nor an address" in made.output
    assert not (tmp_path / "tls").exists()


def test_hosts_may_be_wild_or_addresses(tmp_path: Path) -> None:
    certs(tmp_path / "tls", "--host", "*.example.com", "--host", "fd00::1", "--host", "10.0.0.1")
    assert {"*.example.com", "fd00::1", "10.0.0.1"} <= set(names_in(tmp_path / "tls" / "doors"))


def test_certificates_end_before_the_calendar_does(tmp_path: Path) -> None:
    made = certs(tmp_path / "tls", "--days", "99999999999")
    assert made.exit_code == 2, made.output


def test_where_clients_are_asked_the_curl_line_shows_a_certificate(tmp_path: Path) -> None:
    asked = certs(tmp_path / "asked", "--ask-clients").output
    assert f"--cert {tmp_path}/asked/client/{CHAIN} --key {tmp_path}/asked/client/{KEY}" in asked
    assert "--key" not in certs(tmp_path / "open").output
