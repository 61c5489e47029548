"""A cluster of real processes without Ray, each to be killed by itself.

Valkey, replicas, gateways and control planes, as `blockyard replica`,
`gateway` and `control-plane` start them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

from orchestrator.live.operator_client import FleetState, ReplicaState, fleet
from orchestrator.live.valkey import EmbeddedValkey
from protos.messages import SequenceReport
from tests.ports import free_ports
from tests.waiting import wait_for

START_S = 120  # a loaded machine takes its time


@dataclass
class Process:
    """One member of the cluster, and where it answers."""

    address: str
    popen: subprocess.Popen[str]

    def kill(self) -> None:
        """As the kernel does it."""
        self.popen.kill()
        self.popen.wait()

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)


@dataclass
class Processes:
    """The cluster. Leaving it stops what is left."""

    blocks: int = 600
    model: str = "tiny"
    replicas: dict[str, Process] = field(default_factory=dict)
    gateways: list[Process] = field(default_factory=list)
    control_planes: list[Process] = field(default_factory=list)
    _undo: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.redis_url = self._undo.enter_context(EmbeddedValkey()).url
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        members = [*self.gateways, *self.replicas.values(), *self.control_planes]
        for member in members:
            member.popen.send_signal(signal.SIGCONT)
            member.popen.terminate()
        for member in members:
            member.popen.wait(timeout=60)
            assert member.popen.stdout is not None
            member.popen.stdout.close()
        self._undo.close()

    def start(
        self, *, replicas: tuple[str, ...], gateways: int = 1, control_planes: int = 1
    ) -> None:
        """All at once; returns when everybody has met everybody."""
        ports = free_ports(2 * gateways + control_planes)
        planes = [
            self._launch("control-plane", f"--control-port={ports.pop()}")
            for _ in range(control_planes)
        ]
        doors = [
            self._launch(
                "gateway",
                f"--model={self.model}",
                f"--http-port={ports.pop()}",
                f"--grpc-port={ports.pop()}",
                "--drain-s=1",
            )
            for _ in range(gateways)
        ]
        engines = {name: self._launch_replica(name) for name in replicas}
        self.control_planes = [self._started(popen) for popen in planes]
        self.gateways = [self._started(popen) for popen in doors]
        self.replicas = {name: self._started(popen) for name, popen in engines.items()}
        self.wait_until_serving()

    def add_replica(self, name: str) -> None:
        """One more, or one that died, anew."""
        self.replicas[name] = self._started(self._launch_replica(name))
        self.wait_until_serving()

    def wait_until_serving(self) -> None:
        """Every gateway and the control plane know every replica."""
        wait_for(
            lambda: (
                {state.record.replica_id for state in self.states()} >= set(self.replicas)
                and all(self._knows_all(gateway) for gateway in self.gateways)
            ),
            within_s=START_S,
            what="a cluster that knows its members",
        )

    @property
    def control_address(self) -> str:
        """Of any control plane that lives: it names the leader."""
        return next(plane.address for plane in self.control_planes if plane.popen.poll() is None)

    def fleet(self) -> FleetState:
        """As the leader knows it, sequences included; empty while nobody leads."""
        try:
            return fleet(self.control_address, sequences=True)
        except ConnectionError:
            return FleetState((), ())

    def states(self) -> tuple[ReplicaState, ...]:
        return self.fleet().replicas

    def sequences(self) -> dict[str, tuple[SequenceReport, ...]]:
        """What runs and waits, by replica."""
        return {state.record.replica_id: state.sequences for state in self.states()}

    def whereabouts(self, name: str) -> tuple[str, SequenceReport] | None:
        """The replica that has the (first) sequence of the request that its client named so."""
        for replica_id, sequences in self.sequences().items():
            for sequence in sequences:
                if sequence.request_id.startswith(f"{name}-"):
                    return replica_id, sequence
        return None

    def is_quiet(self) -> bool:
        """Nothing runs anywhere, and no block is in use."""
        snapshots = [state.snapshot for state in self.states()]
        return bool(snapshots) and not any(
            s.blocks_used or s.sequences_running or s.sequences_waiting for s in snapshots
        )

    def wait_until_quiet(self) -> None:
        wait_for(self.is_quiet, within_s=40, what="all blocks given back")

    def _knows_all(self, gateway: Process) -> bool:
        if gateway.popen.poll() is not None:
            return True
        try:
            text = httpx.get(f"{gateway.address}/metrics", timeout=5.0).text
        except httpx.TransportError:
            return False
        return all(f'kv_blocks_free{{replica="{name}"}}' in text for name in self.replicas)

    def _launch_replica(self, name: str) -> subprocess.Popen[str]:
        return self._launch(
            "replica", name, f"--model={self.model}", f"--blocks={self.blocks}", "--drain-s=10"
        )

    def _launch(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "orchestrator", *words, f"--redis={self.redis_url}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def _started(self, popen: subprocess.Popen[str]) -> Process:
        assert popen.stdout is not None
        address = popen.stdout.readline().strip()
        assert address, f"it did not start: {popen.args!r}"
        return Process(address, popen)
