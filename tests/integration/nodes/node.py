"""A Ray node as a pod: `ray start` in a process of its own, with an address of its own.

All of 127.0.0.0/8 is this machine, so each node has one of its addresses, as
pods have theirs. Nothing here ends another process than the node's own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE_BYTES = 80_000_000  # Ray's least is 75 MB; nothing of ours goes there
STOP_S = 20.0
STARTS_MAX = 5
# Few cores for many nodes: no workers in advance, and actors give way to nodes that start, but
# not, as by default (15), to everything else that runs here.
FEW_CORES = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_worker_niceness": "8",
}
COMMON = (
    "--block",
    "--disable-usage-stats",
    "--include-log-monitor=false",
    f"--object-store-memory={OBJECT_STORE_BYTES}",
    # Any free ones: pods have all ports for themselves, nodes of one machine share them.
    "--dashboard-agent-listen-port=0",
    "--min-worker-port=0",
    "--max-worker-port=0",
)


@dataclass(eq=False)
class Node:
    """One node, from its start to its end."""

    name: str
    role: str
    address: str
    options: Sequence[str]
    environment: Mapping[str, str]
    folder: Path  # its own: sessions of two nodes in one would get into each other's way
    node_id: str = ""  # Ray's, from its start on
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def _session(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Returns at once; Ray lists the node when it is there."""
        self.starts += 1
        self.node_id = secrets.token_hex(28)
        own = {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": self.node_id}
        self.folder.mkdir(exist_ok=True)
        places = [f"--node-ip-address={self.address}", f"--temp-dir={self.folder}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [RAY, "start", *places, *COMMON, *self.options],
                env={**os.environ, **FEW_CORES, **self.environment, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_trying(self) -> None:
        """As a kubelet does: Ray gives a node up that is not there after half a minute."""
        if not self.is_running:
            assert self.starts < STARTS_MAX, self.log()
            self.kill()
            self.start()

    def log(self) -> str:
        """What `ray start` said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def family(self) -> list[psutil.Process]:
        """Its processes, orphans too: Ray's own and the actors stay in the session it leads."""
        return [process for process in psutil.process_iter() if session(process) == self._session]

    def kill(self) -> None:
        """The whole of it at once, as when a machine loses its power."""
        family = self.family()
        for process in family:  # nobody is left to notice that another one is gone
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=STOP_S)
        if self._process is not None:
            self._process.wait()


def session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:  # it has ended
        return 0
