"""Folders of certificates: what is refused at the start, and what is kept when one goes bad."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from protos.certificates import CHAIN, KEY, BadCertificates, CertificateFolder
from protos.transport import AUTHORITY, Transport
from protos.trust import trusting
from tests.integration.tls.authorities import member


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return member(tmp_path / "member", trustme.CA())


@pytest.mark.parametrize("missing", [CHAIN, KEY, AUTHORITY])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BadCertificates, match=missing):
        Transport(folder)


def test_a_key_that_belongs_to_another_certificate_is_refused(folder: Path) -> None:
    (folder / KEY).write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
    with pytest.raises(BadCertificates, match="not the key"):
        Transport(folder)


def test_a_key_that_asks_for_a_password_is_refused_and_asks_nobody(folder: Path) -> None:
    key = load_pem_private_key((folder / KEY).read_bytes(), password=None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
    (folder / KEY).write_bytes(locked)
    with pytest.raises(BadCertificates, match="cannot be used"):
        Transport(folder)


@pytest.mark.parametrize("broken", [CHAIN, KEY, AUTHORITY])
def test_what_is_no_certificate_is_refused_without_a_word_of_its_content(
    folder: Path, broken: str
) -> None:
    (folder / broken).write_text("hunter2")
    with pytest.raises(BadCertificates, match="cannot be used") as caught:
        Transport(folder)
    assert "hunter2" not in str(caught.value)


def test_a_renewed_certificate_is_the_current_one(folder: Path) -> None:
    own = CertificateFolder(folder, AUTHORITY)
    before = own.current()
    member(folder, trustme.CA())
    assert own.current() != before
    assert own.current().chain == (folder / CHAIN).read_bytes()


def test_a_folder_that_goes_bad_keeps_the_last_good_one_and_says_so_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = CertificateFolder(folder, AUTHORITY)
    before = own.current()
    with caplog.at_level(logging.WARNING):
        (folder / CHAIN).write_text("half of it")
        assert [own.current() for _ in range(3)] == [before] * 3
        assert len(caplog.records) == 1
        (folder / CHAIN).unlink()
        assert [own.current() for _ in range(3)] == [before] * 3
        assert len(caplog.records) == 2
    member(folder, trustme.CA())
    assert own.current() != before


def test_a_client_is_told_what_it_cannot_believe(tmp_path: Path) -> None:
    nothing = tmp_path / "ca.crt"
    nothing.write_text("nothing")
    with pytest.raises(BadCertificates, match=r"cannot trust .*ca\.crt"):
        trusting(nothing)
    with pytest.raises(BadCertificates, match="cannot trust"):
        trusting(tmp_path / "nowhere")
