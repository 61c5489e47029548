"""Who can come in: keys, certificates, and what is shown to whom."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from orchestrator.gateway.door_tls import DoorTls
from orchestrator.gateway.keyring import Keyring
from orchestrator.gateway.keys_file import BadKeysFile, parse_keys
from orchestrator.live.doctor.finding import Finding, note, ok, unsafe, warning
from orchestrator.live.doctor.subject import Subject
from protos.certificates import CHAIN, BadCertificates
from protos.transport import Transport

RENEW_BEFORE = timedelta(days=14)
MAKE_KEYS = "make keys with `blockyard keys new` and give their file with --keys (keys_file)"
MAKE_CERTS = "give a folder with tls.crt and tls.key (tls); `blockyard certs` makes one for trying"


def check_doors(subject: Subject, now: datetime | None = None) -> Iterator[Finding]:
    """Of the front doors, the live page, and the ports between members."""
    now = now or datetime.now(UTC)
    keyring = yield from _keys(subject, now)
    yield from _page(subject, keyring)
    yield from _tls(subject, now)
    yield from _internal_tls(subject, now)


def _keys(subject: Subject, now: datetime) -> Generator[Finding, None, Keyring | None]:
    path, host = subject.deployment.keys_file, subject.deployment.host
    if path is None:
        if subject.is_local:
            yield note("keys", f"no keys: whoever can log in here may use {host}", MAKE_KEYS)
        else:
            yield unsafe("keys", f"no keys: whoever reaches {host} may use it", MAKE_KEYS)
        return None
    if subject.has_elsewhere(path):
        yield _unseen("keys", path)
        return None
    try:
        keyring = parse_keys(path.read_bytes())
    except (OSError, BadKeysFile) as error:
        why = error.strerror if isinstance(error, OSError) else error
        yield unsafe("keys", f"{path} will not do: {why}", "mend it; gateways do not start with it")
        return None
    yield from _of_keyring(path, keyring, now)
    if keyring.metrics_are_open and not subject.is_local:
        yield note(
            "keys",
            "/metrics answers without a key",
            f'metrics = "operator" in {path} asks for one',
        )
    return keyring


def _of_keyring(path: Path, keyring: Keyring, now: datetime) -> Iterator[Finding]:
    expired = sum(1 for each in keyring.entries if each.expires and each.expires <= now)
    valid = len(keyring.entries) - expired
    if not valid:
        yield warning("keys", f"{path} has no key that opens anything", MAKE_KEYS)
        return
    yield ok("keys", f"{valid} keys open the doors, {expired} have expired")
    if not any(each.caller.is_operator for each in keyring.entries):
        yield note(
            "keys",
            "no key is an operator's: nobody sees the live page or other tenants' requests",
            "`blockyard keys new --operator` makes one",
        )


def _page(subject: Subject, keyring: Keyring | None) -> Iterator[Finding]:
    if not subject.deployment.ui:
        yield ok("page", "the live page is off")
    elif keyring is not None:
        yield ok("page", "the live page shows its figures to operators alone")
    elif (path := subject.deployment.keys_file) is not None and subject.has_elsewhere(path):
        yield _unseen("page", path)
    elif subject.is_local:
        yield note("page", "the live page is for whoever can log in here")
    else:
        yield unsafe(
            "page",
            "the live page shows everybody what everybody does",
            "leave out `ui`, or " + MAKE_KEYS,
        )


def _tls(subject: Subject, now: datetime) -> Iterator[Finding]:
    folder, host = subject.deployment.tls, subject.deployment.host
    if folder is None:
        if subject.is_local:
            yield ok("tls", f"in the clear, on {host} only")
        else:
            yield warning(
                "tls",
                f"prompts and keys travel in the clear to {host}, unless a proxy in front of it "
                "ends TLS",
                MAKE_CERTS,
            )
        return
    if subject.has_elsewhere(folder):
        yield _unseen("tls", folder)
        return
    try:
        door = DoorTls(folder)
    except (OSError, ValueError) as error:  # of which BadCertificates and SSLError are two
        yield unsafe("tls", f"{folder} will not do: {error}", MAKE_CERTS)
        return
    asked = "must show" if door.asks_clients else "need not show"
    yield from _until("tls", folder, now, f"the doors speak TLS; clients {asked} a certificate")


def _internal_tls(subject: Subject, now: datetime) -> Iterator[Finding]:
    folder, host = subject.deployment.internal_tls, subject.deployment.host
    make = "give every process a folder with ca.crt, tls.crt and tls.key (internal_tls)"
    if folder is None:
        if subject.is_local:
            yield ok("members", f"members speak in the clear, on {host} only")
        else:
            yield unsafe(
                "members",
                f"whoever reaches the members' ports on {host} may order replicas about and read "
                "prompts, unless a network policy keeps him off",
                make,
            )
        return
    if subject.has_elsewhere(folder):
        yield _unseen("members", folder)
        return
    try:
        Transport(folder)
    except BadCertificates as error:
        yield unsafe("members", f"{folder} will not do: {error}", make)
        return
    yield from _until("members", folder, now, "members speak mutual TLS")


def _unseen(check: str, path: Path) -> Finding:
    """The config file is of a cluster whose pods have the path, or so it says."""
    return warning(
        check,
        f"{path} cannot be looked at from here",
        "where it is mounted, `blockyard doctor --config` says more",
    )


def _until(check: str, folder: Path, now: datetime, message: str) -> Iterator[Finding]:
    """How long the certificate that can be used will be of use."""
    ends = x509.load_pem_x509_certificates((folder / CHAIN).read_bytes())[0].not_valid_after_utc
    if ends <= now:
        yield unsafe(check, f"{folder / CHAIN} ended on {ends:%Y-%m-%d}", "renew it")
    elif ends - now < RENEW_BEFORE:
        yield warning(check, f"{message}, until {ends:%Y-%m-%d} only", "renew the certificate")
    else:
        yield ok(check, f"{message}, until {ends:%Y-%m-%d}")
