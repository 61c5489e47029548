"""The registry's server: whether it answers, to whom, and what the user given may do there.

Asks only what no server minds, and only reads. The registry keeps nothing that
a restart may not lose, so whether the server keeps its data does not matter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from orchestrator.live.doctor.finding import Finding, note, ok, unsafe, warning
from orchestrator.live.doctor.subject import Subject, is_loopback
from orchestrator.live.registry_url import registry_url, without_password
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis_server import RedisServer
from protos.registry import RegistryUnavailable

ANSWER_MS = 3_000
ALL_S = 15.0  # for all that is asked
SKEW_S_MAX = 1.0
STRANGE_KEY = "blockyard-doctor-asks"  # not of the registry, and never written
US_PER_S = 1_000_000
GIVE_USER = (
    "give each role a user of its own, confined to the registry's keys (deploy/README.md has them)"
)


async def check_registry(
    subject: Subject, environment: Mapping[str, str]
) -> AsyncIterator[Finding]:
    """Of the URL, then of the server that answers there."""
    if subject.has_own_registry:
        yield note(
            "registry", "an embedded Valkey on 127.0.0.1, without a password, for one machine"
        )
        return
    try:
        url = registry_url(subject.deployment, environment)
        server = RedisServer.at(url, RegistryConfig(operation_ms=ANSWER_MS, connect_ms=ANSWER_MS))
    except ValueError as error:
        yield warning("registry", str(error), "say where the registry's Redis or Valkey is")
        return
    for finding in _of_url(url):
        yield finding
    try:
        async with asyncio.timeout(ALL_S):
            await server.ask("PING")
            yield ok("registry", f"{without_password(url)} answers")
            async for finding in _of_server(server):
                yield finding
    except (RegistryUnavailable, TimeoutError) as error:
        yield warning(
            "registry",
            f"{without_password(url)} does not answer from here: {error}",
            "start it, or let this machine reach it; processes wait for it",
        )
    finally:
        await server.close()


def _of_url(url: str) -> list[Finding]:
    parts = urlsplit(url)
    if parts.scheme == "unix" or is_loopback(parts.hostname or ""):
        return []
    found = []
    if parts.password is None:
        found.append(unsafe("registry", f"no password for {without_password(url)}", GIVE_USER))
    if not parts.scheme.startswith("rediss"):
        found.append(
            warning(
                "registry",
                f"{without_password(url)} is spoken to in the clear",
                "use rediss:// with ?ssl_ca_certs=..., where the network is not trusted",
            )
        )
    return found


async def _of_server(server: RedisServer) -> AsyncIterator[Finding]:
    if await _may(server, "GET", STRANGE_KEY):
        yield warning("registry", "its user may read keys of others on that server", GIVE_USER)
    else:
        yield ok("registry", "its user is confined to the registry's keys")
    memory = await _told(server, "INFO", "memory")
    if memory is not None and memory["maxmemory"]:
        policy = memory["maxmemory_policy"]
        if policy != "noeviction":
            yield warning(
                "registry",
                f"it evicts keys when its memory is full ({policy}), leases among them",
                "set maxmemory-policy noeviction",
            )
    told = await _told(server, "TIME")
    if told is not None:
        seconds, microseconds = map(int, told)
        yield _of_clock(time.time() - seconds - microseconds / US_PER_S)


def _of_clock(ahead_s: float) -> Finding:
    if abs(ahead_s) <= SKEW_S_MAX:
        return ok("clock", "this machine and the registry agree on the time")
    return warning(
        "clock",
        f"this machine and the registry differ by {abs(ahead_s):.1f} s: keys and certificates end "
        "at different times",
        "let a time service keep both",
    )


async def _may(server: RedisServer, *command: str) -> bool:
    try:
        await server.ask(*command)
    except RegistryUnavailable as error:
        if _is_refusal(error):
            return False
        raise
    return True


async def _told(server: RedisServer, *command: str) -> Any:
    """The answer; None where the user may not ask."""
    try:
        return await server.ask(*command)
    except RegistryUnavailable as error:
        if _is_refusal(error):
            return None
        raise


def _is_refusal(error: RegistryUnavailable) -> bool:
    return "permission" in str(error).lower()
