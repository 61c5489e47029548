"""Servers that are more than one embedded Valkey: a master with a standby, and Sentinels."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.deploy.redis_server import WITHIN_S, embedded, launched
from tests.ports import free_ports
from tests.waiting import wait_for

HOST = "127.0.0.1"
MASTER = "yard"
QUORUM = 2


@dataclass
class Server:
    """One process of valkey-server."""

    port: int
    process: subprocess.Popen[bytes]

    def ask(self, *words: str) -> object:
        with redis.Redis(HOST, self.port, protocol=2) as client:
            answer: object = client.execute_command(*words)
            return answer

    def answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.exceptions.ConnectionError:
            return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WITHIN_S)


@contextmanager
def server(folder: Path, *settings: str, is_sentinel: bool = False) -> Iterator[Server]:
    """Answers when it is given out; each setting is a line of its configuration."""
    (port,) = free_ports(1)
    folder.mkdir()
    path = folder / "valkey.conf"
    lines = [f"bind {HOST}", f"port {port}", f"dir {folder}", 'save ""', *settings]
    path.write_text("\n".join(line for line in lines if not (is_sentinel and "save" in line)))
    more = ["--sentinel"] if is_sentinel else []
    with launched(folder, embedded(), str(path), *more) as process:
        made = Server(port, process)
        wait_for(made.answers, within_s=WITHIN_S, what=f"the server of {folder} answers")
        yield made


@dataclass
class Watched:
    """A master, its standby, and who says which of them is the master."""

    servers: list[Server]
    sentinels: list[Server]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER}"

    def master(self) -> Server:
        """As the Sentinels have it."""
        address = self.sentinels[-1].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        assert isinstance(address, list | tuple), "there is one"
        return next(each for each in self.servers if each.port == int(address[1]))

    def hands_over(self) -> bool:
        """Tell them to; False where they cannot just now, as with a standby that was slow."""
        try:
            self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER)
        except redis.exceptions.ResponseError:
            return False
        return True


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Three Sentinels know each other, the master and its standby."""
    with ExitStack() as stack:
        master = stack.enter_context(server(folder / "one"))
        follows = f"replicaof {HOST} {master.port}"
        standby = stack.enter_context(server(folder / "two", follows, "repl-diskless-sync-delay 0"))
        settings = (
            f"sentinel monitor {MASTER} {HOST} {master.port} {QUORUM}",
            f"sentinel down-after-milliseconds {MASTER} 500",
            f"sentinel failover-timeout {MASTER} 5000",
        )
        sentinels = [
            stack.enter_context(server(folder / f"sentinel-{n}", *settings, is_sentinel=True))
            for n in range(3)
        ]

        def is_whole() -> bool:
            return all(map(knows_all, sentinels))

        wait_for(is_whole, within_s=WITHIN_S, what="Sentinels that know each other")
        yield Watched([master, standby], sentinels)


def knows_all(sentinel: Server) -> bool:
    """Whether it has met the others, and heard from the standby itself that it follows.

    Before that it has nobody whom it could make the master, and says so.
    """
    master = dict(_pairs(sentinel.ask("SENTINEL", "MASTER", MASTER)))
    standbys = sentinel.ask("SENTINEL", "REPLICAS", MASTER)
    assert isinstance(standbys, list)
    links = [dict(_pairs(each))["master-link-status"] for each in standbys]
    return (links, master["num-other-sentinels"]) == (["ok"], "2")


def _pairs(flat: object) -> list[tuple[str, str]]:
    if isinstance(flat, dict):
        return [(str(name), str(value)) for name, value in flat.items()]
    assert isinstance(flat, list)
    words = [word.decode() for word in flat]
    return list(zip(words[::2], words[1::2], strict=True))
