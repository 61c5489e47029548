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

from tests.deploy.tools import DEPLOY

RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE_BYTES = 80_000_000  # Ray's least is 75 MB; nothing of ours goes there
STOP_S = 20.0
STARTS_MAX = 5
# What the operator gives pods of a cluster whose head may come back.
SURVIVES_HEAD = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
NICENESS = 8
# Few cores for many nodes: no workers in advance, patience, and actors give way to nodes that
# start, but not, as by default (15), to everything else that runs here.
FEW_CORES = {
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "120",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_worker_niceness": str(NICENESS),
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
        own = {
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": self.node_id,
            # As the operator does: by these the autoscaler finds the pod of a node.
            "RAY_CLOUD_INSTANCE_ID": self.name,
            "RAY_NODE_TYPE_NAME": self.role,
        }
        self.folder.mkdir(exist_ok=True)
        places = [f"--node-ip-address={self.address}", f"--temp-dir={self.folder}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [RAY, "start", *places, *COMMON, *self.options],
                env={**os.environ, **SURVIVES_HEAD, **FEW_CORES, **self.environment, **own},
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

    def give_way(self) -> None:
        """It has started: nodes that start now go first.

        Linux shares cores between sessions before it looks at the niceness of processes.
        """
        weight = Path(f"/proc/{self._session}/autogroup")
        with suppress(OSError):  # a kernel that knows no such groups, or a node that has ended
            weight.write_text(f"{NICENESS}\n")

    def log(self) -> str:
        """What `ray start` said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def family(self) -> list[psutil.Process]:
        """Its processes, orphans too: Ray's own and the actors stay in the session it leads."""
        return [process for process in psutil.process_iter() if session(process) == self._session]

    def actors(self) -> list[psutil.Process]:
        """Those of Serve's deployments."""
        named = ((process, process_title(process)) for process in self.family())
        return [process for process, title in named if title.startswith("ray::ServeReplica:")]

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

    def leave(self, gcs_address: str, tools: Path) -> None:
        """What its pod does when Kubernetes deletes it: the preStop hook, then its end.

        Where Ray's autoscaler has ended an idle node, its container is gone, and with it the hook.
        """
        raylets = [process for process in self.family() if process.name() == "raylet"]
        if raylets:
            drain_pod(self, raylets[0], gcs_address, tools)
            assert not self.actors(), "the hook has ended, and actors of Serve are still here"
        if self._process is not None and self.is_running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self.kill()


def session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:  # it has ended
        return 0


def process_title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def drain_pod(node: Node, raylet: psutil.Process, gcs_address: str, tools: Path) -> None:
    """The hook of the image, which sees this node alone, as it would in a pod."""
    put(tools, "ray", f'exec {RAY} "$@" --node-id {node.node_id}')
    put(tools, "pgrep", f'exec /usr/bin/env PATH="$REAL_PATH" pgrep -P {raylet.pid} "$@"')
    verdict = subprocess.run(
        ["sh", str(DEPLOY / "docker" / "drain-pod")],
        env={
            **os.environ,
            **node.environment,
            "RAY_ADDRESS": gcs_address,
            "REAL_PATH": os.environ["PATH"],
            "PATH": f"{tools}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stderr
    assert "did not take the drain" not in verdict.stderr, verdict.stderr


def put(folder: Path, name: str, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
