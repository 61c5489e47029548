"""Whether the ports of `up` can be had here; a config file's are of other machines."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.live.doctor.finding import Finding, ok, unsafe
from orchestrator.live.doctor.subject import Subject
from orchestrator.live.local import StartFailed, require_free


def check_ports(subject: Subject) -> Iterator[Finding]:
    """As `up` asks before it starts: a port for each, and nobody there yet."""
    if subject.config is not None:
        return
    deployment = subject.deployment
    options = {
        "--http-port": deployment.http_port,
        "--grpc-port": deployment.grpc_port,
        "--control-port": deployment.control_port,
    }
    found = [*_shared(options), *_taken(options)]
    yield from found or [ok("ports", f"{', '.join(map(str, options.values()))} are free")]


def _shared(options: dict[str, int]) -> Iterator[Finding]:
    for port in sorted(set(options.values())):
        names = [name for name, value in options.items() if value == port]
        if len(names) > 1:
            yield unsafe(
                "ports", f"{' and '.join(names)} are the same, {port}", "give each its own"
            )


def _taken(options: dict[str, int]) -> Iterator[Finding]:
    for port in sorted(set(options.values())):
        try:
            require_free(port)
        except StartFailed:
            name = next(name for name, value in options.items() if value == port)
            yield unsafe("ports", f"port {port} is taken", f"choose another one with {name}")
