"""Where secrets lie, and who else can read them there."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.live.doctor.finding import Finding, ok, unsafe, warning
from orchestrator.live.doctor.subject import Subject
from orchestrator.live.registry_url import FROM_ENVIRONMENT
from protos.certificates import KEY

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_READ = stat.S_IRGRP | stat.S_IROTH


def check_secrets(subject: Subject, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Of files, of the registry's password, of Ray's token."""
    deployment = subject.deployment
    for folder in dict.fromkeys((deployment.tls, deployment.internal_tls)):  # each one once
        if folder is not None:
            yield from _private(folder / KEY)
    if deployment.keys_file is not None:
        yield from _not_for_others_to_change(deployment.keys_file)
    yield from _password(subject)
    if subject.config is None:  # else Ray is elsewhere, with another environment
        yield from _ray(environment)


def _private(path: Path) -> Iterator[Finding]:
    """A key that anybody may read is nobody's."""
    mode = _mode(path)
    if mode is None:
        return  # that it cannot be read is said where it is needed
    if mode & OTHERS_WRITE:
        yield unsafe("files", f"others may change {path}", f"chmod 600 {path}")
    elif mode & OTHERS_READ:
        yield warning("files", f"others of this machine may read {path}", f"chmod 600 {path}")
    else:
        yield ok("files", f"only its owner can read {path}")


def _not_for_others_to_change(path: Path) -> Iterator[Finding]:
    """Its digests may be read by others; a line more, and they are let in."""
    mode = _mode(path)
    if mode is None:
        return
    if mode & OTHERS_WRITE:
        yield unsafe("files", f"others may add keys to {path}", f"chmod 600 {path}")
    else:
        yield ok("files", f"only its owner can change {path}")


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _password(subject: Subject) -> Iterator[Finding]:
    url = subject.deployment.redis_url
    if subject.has_own_registry or url.startswith(FROM_ENVIRONMENT) or not urlsplit(url).password:
        return
    remedy = "write env:NAME for it, and put the URL in that variable of every process"
    if subject.config is not None:
        yield unsafe("secrets", f"the registry's password is in {subject.config}", remedy)
    else:
        yield unsafe(
            "secrets", "the registry's password is on a command line, which `ps` shows", remedy
        )


def _ray(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Ray's ports run code for whoever may speak to them."""
    mode = environment.get("RAY_AUTH_MODE", "")
    if mode == "token":
        yield ok("ray", "Ray runs code only for whoever has its token")
    else:
        yield unsafe(
            "ray",
            f"RAY_AUTH_MODE is {mode!r}: Ray runs code for whoever reaches its ports",
            "unset it, or set it to token",
        )
