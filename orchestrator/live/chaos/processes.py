"""A cluster of real processes on one machine, without Ray, each to be hurt by itself.

Valkey, replicas, gateways and control planes, as `blockyard replica`,
`gateway` and `control-plane` start them. Everybody reaches everybody through
the network's proxies. A gateway has two doors: one at the end of its way to
`clients`, and its own, which nothing ever stands before. A member keeps its
ports for as long as the cluster lives; what it says is in a folder.

Nothing outlives the cluster: leaving it stops what it started and nothing
else, and where it is not left, the kernel ends its processes with the thread
that started them. So start members in the main thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from orchestrator.chaos.faults import CLIENTS
from orchestrator.live.chaos.forks import Forks
from orchestrator.live.chaos.network import Network
from orchestrator.live.chaos.owners import owner
from orchestrator.live.chaos.process import POLL_S, Process
from orchestrator.live.chaos.redis import ChaosRedis
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.free_ports import HOST, free_ports
from orchestrator.live.gateway_door import GatewayDoor
from orchestrator.live.operator_client import FleetState, fleet
from protos.transport import Transport
from protos.trust import trusting

REDIS = "redis"
MEET_S_MAX = 120.0  # until everybody knows everybody, on a loaded machine
GATEWAY_DRAIN_S = 1
REPLICA_DRAIN_S = 10
ANSWER_S_MAX = 5.0
SAMPLE = re.compile(r'^blockyard_replica_up\{replica="([^"]*)"\} 1\.0$', re.MULTILINE)


class NotHealthy(Exception):
    """The cluster has not come to the state that it should be in; says which."""


@dataclass
class Processes:
    """The cluster: `members` by name, alive or not. A context manager."""

    blocks: int = 600
    model: str = "tiny"
    folder: Path | None = None  # for logs; None: one that goes with the cluster
    certificates: Path | None = None  # as `blockyard certs` makes them; None: all in the clear
    members: dict[str, Process] = field(default_factory=dict)
    # By name, also of those that are gone: who comes back is found where he was.
    _ports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _redis_ports: dict[str, int] = field(default_factory=dict)
    _doors: dict[str, int] = field(default_factory=dict)  # of gateways: where their ways begin
    _free_ports: Iterator[int] = field(default_factory=free_ports)
    _undo: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.logs = self.folder or Path(undo.enter_context(TemporaryDirectory()))
            self.redis = undo.enter_context(ChaosRedis())
            self.forks = undo.enter_context(Forks())
            self.network = undo.enter_context(Network(self.member_at))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._undo:
            self.stop(*self.members)

    # ---- who there is

    @property
    def replicas(self) -> dict[str, Process]:
        return self._of("replica")

    @property
    def gateways(self) -> list[Process]:
        return list(self._of("gateway").values())

    @property
    def control_planes(self) -> list[Process]:
        return list(self._of("control-plane").values())

    def member_at(self, port: int, to_port: int) -> str | None:
        """Who has connected the one port to the other."""
        pids = {name: member.pid for name, member in tuple(self.members.items()) if member.is_alive}
        return owner(port, to_port, pids)

    # ---- coming and going

    def start(self, *, replicas: Iterable[str], gateways: int = 1, control_planes: int = 1) -> None:
        """So many and no others, those that are missing all at once.

        Returns when everybody has met everybody. Raises DidNotStart, NotHealthy.
        """
        wanted = {
            **{f"control-{number}": self.add_control_plane for number in range(control_planes)},
            **{f"gateway-{number}": self.add_gateway for number in range(gateways)},
            **dict.fromkeys(replicas, self.add_replica),
        }
        surplus = [name for name in self.members if name not in wanted]
        self.stop(*surplus)
        for name in surplus:
            self.forget(name)
        for name, add in wanted.items():
            if name not in self.members:
                add(name)
            self.members[name].ensure_launched()
        for name in wanted:
            self.members[name].wait_until_listening()
        self.wait_until_serving()

    def add_replica(self, name: str) -> str:
        """Its place in the cluster; `revive` starts it."""
        return self._add_behind_proxy(
            name,
            ("replica", name, f"--model={self.model}", f"--blocks={self.blocks}"),
            "--port",
            f"--drain-s={REPLICA_DRAIN_S}",
        )

    def add_control_plane(self, name: str) -> str:
        return self._add_behind_proxy(name, ("control-plane",), "--control-port")

    def add_gateway(self, name: str) -> str:
        if name not in self._ports:
            port = self.free_port()
            self._ports[name] = (f"--http-port={port}", f"--grpc-port={self.free_port()}")
            self._doors[name] = self.network.open(name, port, caller=CLIENTS)
        ports = self._ports[name]
        drain = f"--drain-s={GATEWAY_DRAIN_S}"
        tls = () if self.certificates is None else (f"--tls={self.certificates / 'doors'}",)
        return self._add(name, ("gateway", f"--model={self.model}", *ports, drain, *tls))

    def revive(self, name: str) -> None:
        """Start a member that is not running; returns when everybody has met it."""
        self.members[name].launch()
        self.members[name].wait_until_listening()
        self.wait_until_serving()

    def stop(self, *names: str) -> None:
        """In order, all at once."""
        for name in names:
            self.members[name].ask_to_stop()
        for name in names:
            self.members[name].wait_until_ended()

    def forget(self, name: str) -> None:
        """It is gone for good."""
        assert not self.members[name].is_alive, f"{name} is running"
        del self.members[name]

    # ---- how they are

    @property
    def redis_url(self) -> str:
        """Past all ways, for whoever is no member."""
        return f"redis://{HOST}:{self.redis.port}/0"

    @property
    def control(self) -> ControlDoor:
        """Of any control plane that lives: it names the leader. Raises ConnectionError."""
        address = next((plane.address for plane in self.control_planes if plane.is_alive), None)
        if address is None:
            raise ConnectionError("no control plane lives")
        own = None if self.certificates is None else self.certificates / "internal"
        return ControlDoor(address, Transport(own))

    def front(self, gateway: Process) -> GatewayDoor:
        """Of one gateway."""
        if self.certificates is None:
            return GatewayDoor(gateway.address)
        return GatewayDoor(gateway.address, trusting(self.certificates / "client"))

    def way_to(self, gateway: Process) -> str:
        """Where clients find it at the end of a way that may be disturbed."""
        scheme = urlsplit(gateway.address).scheme
        return f"{scheme}://{HOST}:{self._doors[gateway.name]}"

    def fleet(self) -> FleetState:
        """As the leader knows it, sequences included; empty while nobody leads."""
        try:
            return fleet(self.control, sequences=True)
        except ConnectionError:
            return FleetState((), ())

    def metrics(self) -> dict[str, str]:
        """What each gateway that answers counts, in Prometheus's words."""
        texts = {}
        for gateway in self.gateways:
            if gateway.is_alive:
                try:
                    with self.front(gateway).client(httpx.Timeout(ANSWER_S_MAX)) as client:
                        texts[gateway.name] = client.get("/metrics").text
                except httpx.TransportError:
                    continue
        return texts

    def is_serving(self) -> bool:
        """Every gateway and the leader know every replica, in its present life."""
        replicas = {name: replica.address for name, replica in self.replicas.items()}
        texts = self.metrics()
        return (
            {state.record.replica_id for state in self.fleet().replicas if state.is_fresh}
            >= set(replicas)
            and len(texts) == sum(gateway.is_alive for gateway in self.gateways)
            and all(replicas_up(text) >= set(replicas) for text in texts.values())
        )

    def is_quiet(self) -> bool:
        """Nothing runs anywhere, and no block is in use."""
        snapshots = [state.snapshot for state in self.fleet().replicas]
        return bool(snapshots) and not any(
            s.blocks_used or s.sequences_running or s.sequences_waiting for s in snapshots
        )

    def wait_until_serving(self) -> None:
        self.wait_until(self.is_serving, within_s=MEET_S_MAX, what="everybody knows everybody")

    def wait_until(self, condition: Callable[[], bool], *, within_s: float, what: str) -> None:
        """NotHealthy when it does not come to that."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise NotHealthy(f"not within {within_s:.0f} s: {what}")
            time.sleep(POLL_S)

    # ---- places

    def free_port(self) -> int:
        """For a member: no other one is given it, also while this one is down."""
        return next(self._free_ports)

    def _of(self, command: str) -> dict[str, Process]:
        return {name: each for name, each in self.members.items() if each.words[0] == command}

    def _add_behind_proxy(
        self, name: str, words: tuple[str, ...], port_option: str, *more: str
    ) -> str:
        if name not in self._ports:
            port = self.free_port()
            advertised = self.network.open(name, port)
            self._ports[name] = (f"{port_option}={port}", f"--advertise-port={advertised}")
        return self._add(name, (*words, *self._ports[name], *more))

    def _add(self, name: str, words: tuple[str, ...]) -> str:
        if name not in self._redis_ports:
            self._redis_ports[name] = self.network.open(REDIS, self.redis.port, caller=name)
        more = [f"--redis=redis://{HOST}:{self._redis_ports[name]}/0", "--log-level=info"]
        if self.certificates is not None:
            more.append(f"--internal-tls={self.certificates / 'internal'}")
        self.members[name] = Process(name, (*words, *more), self.logs, self.forks)
        return name


def replicas_up(metrics: str) -> set[str]:
    """The replicas that a gateway sends requests to."""
    return set(SAMPLE.findall(metrics))
