"""The composition root of the simulated world.

The request path, the policies, the control plane's facts, the registry, the
engine with its scheduler and block pool: all production code. Only the four
ends are simulated: clock, executor, links, and the registry in memory.

A world is run once, in a virtual-time loop, with traffic, and ends when every
request has been answered or refused. The same configuration and traffic give
the same history, to the last byte.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.control.seams import Clock
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Connect, Fleet, FleetConfig
from orchestrator.policy.route import RouteReason
from orchestrator.registry.config import RegistryConfig
from orchestrator.sim.baselines.ceiling import CeilingEngine, CeilingRegistry, Computed
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Outcome, ask
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import CostExecutor
from orchestrator.sim.link import DataExchange, SimLink
from orchestrator.sim.loop import NS_PER_S, VirtualTimeLoop
from orchestrator.sim.network import Exchange, Network
from orchestrator.sim.policies import CEILING, OURS, POLICIES
from orchestrator.sim.replica import SimReplica
from orchestrator.sim.tokens import VOCAB_SIZE
from orchestrator.sim.traffic import Arrival, Traffic
from orchestrator.sim.watched_registry import WatchedRegistry
from protos.messages import ModelCard, ReplicaId, Snapshot
from protos.registry import ReplicaRecord
from replicas.config import ReplicaConfig
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine

# Until the last block events have reached the registry.
SETTLE_S = 1.0
# The checkers look at idle engines, too.
NEVER_MS = 10**9


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """How large the cluster is, what its hardware costs, and who decides."""

    replicas: int = 8
    gateways: int = 1
    blocks: int = 4000  # of each replica
    block_size: int = 16
    policy: str = OURS
    seed: int = 0
    cost_model: CostModel = field(default_factory=CostModel)
    link_delay_s: float = 0.0002
    stale_s: float = 0.0  # by which reports arrive later than tokens
    token_by_token: bool = False  # clients hear of each at once, which takes long to simulate
    sequences_max: int = 256
    # Beyond any trace: baselines queue at the replica, however long it takes.
    waiting_max: int = 1_000_000
    context_tokens_max: int = 1 << 20
    # After the last arrival. A request that has no end by then never will have one.
    patience_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Gateway:
    fleet: Fleet
    dispatch: Dispatch


@dataclass(frozen=True, slots=True)
class History:
    """What happened."""

    config: WorldConfig
    outcomes: tuple[Outcome, ...]  # in the order in which they came to be
    snapshots: tuple[Snapshot, ...]  # of each replica at the end
    busy_ns: tuple[int, ...]  # of each replica
    placed: Mapping[RouteReason, int]
    copied_blocks: int
    messages: int  # on all links
    ended_ns: int


class World:
    """Built inside the loop that it runs in."""

    def __init__(self, config: WorldConfig, clock: Clock, checkers: Checkers) -> None:
        self._config = config
        self._clock = clock
        self._checkers = checkers
        self._card = ModelCard(
            name="simulated",
            revision="",
            dtype="bfloat16",
            block_size=config.block_size,
            context_tokens_max=config.context_tokens_max,
            vocab_size=VOCAB_SIZE,
        )
        self._computed: Computed = set()
        self._registry = self._build_registry()
        self._network = Network(config.link_delay_s)
        self._data: DataExchange = Exchange(self._network)
        self._executors = [CostExecutor(clock, config.cost_model) for _ in range(config.replicas)]
        self._replicas = [self._build_replica(number) for number in range(config.replicas)]
        self._links: list[SimLink] = []
        self._gateways = [self._build_gateway(number) for number in range(config.gateways)]
        self._outcomes: list[Outcome] = []

    async def run(self, traffic: Traffic) -> History:
        """Serve it all. An ExceptionGroup says what broke."""
        async with asyncio.TaskGroup() as tasks:
            serving = [tasks.create_task(replica.run(self._data)) for replica in self._replicas]
            await self._open()
            await self._serve_in_time(traffic)
            await self._clock.sleep(SETTLE_S)
            self._checkers.at_end(traffic, self._outcomes, self._replicas, self._registry)
            history = self._history()
            for gateway in self._gateways:
                await gateway.fleet.stop()
            for task in serving:
                task.cancel()
        return history

    async def _open(self) -> None:
        """Every gateway has heard from every replica."""
        await self._clock.sleep(0)  # the replicas join
        for gateway in self._gateways:
            await gateway.fleet.start()
        while any(
            len(gateway.fleet.view().accepting) < len(self._replicas) for gateway in self._gateways
        ):
            await self._clock.sleep(self._config.link_delay_s)

    async def _serve_in_time(self, traffic: Traffic) -> None:
        try:
            async with asyncio.timeout(traffic.seconds + self._config.patience_s):
                await self._serve(traffic)
        except TimeoutError:
            ended = {outcome.number for outcome in self._outcomes}
            left = [a.number for a in traffic.arrivals if a.number not in ended]
            raise AssertionError(
                f"{len(left)} requests never ended, the first is r{left[0]}"
            ) from None

    async def _serve(self, traffic: Traffic) -> None:
        opened_ns = self._clock.now_ns()
        async with asyncio.TaskGroup() as clients:
            for arrival in traffic.arrivals:
                due_ns = opened_ns + arrival.arrival_ns
                if due_ns > self._clock.now_ns():
                    await self._clock.sleep((due_ns - self._clock.now_ns()) / NS_PER_S)
                clients.create_task(self._ask(arrival, traffic.block_size))

    async def _ask(self, arrival: Arrival, block_size: int) -> None:
        gateway = self._gateways[arrival.number % len(self._gateways)]
        request = arrival.request(block_size)
        outcome = await ask(
            gateway.dispatch, request, self._clock, number=arrival.number, tag=arrival.tag
        )
        self._checkers.after_request(arrival.number, request, outcome)
        self._outcomes.append(outcome)

    def _history(self) -> History:
        return History(
            config=self._config,
            outcomes=tuple(self._outcomes),
            snapshots=tuple(replica.snapshot() for replica in self._replicas),
            busy_ns=tuple(executor.busy_ns for executor in self._executors),
            placed=sum((gateway.dispatch.totals.placed for gateway in self._gateways), Counter()),
            copied_blocks=sum(executor.copied_blocks for executor in self._executors),
            messages=sum(link.messages for link in self._links),
            ended_ns=self._clock.now_ns(),
        )

    # ---- the parts

    def _build_registry(self) -> WatchedRegistry:
        if self._config.policy == CEILING:
            return CeilingRegistry(self._clock.now_ns, RegistryConfig(), self._computed)
        return WatchedRegistry(self._clock.now_ns, RegistryConfig())

    def _build_engine(self) -> Engine:
        config = EngineConfig(
            card=self._card,
            blocks_total=self._config.blocks,
            step_tokens_max=self._config.cost_model.step_tokens_max,
            sequences_max=self._config.sequences_max,
            waiting_max=self._config.waiting_max,
        )
        if self._config.policy == CEILING:
            return CeilingEngine(config, self._computed)
        return Engine(config)

    def _build_replica(self, number: int) -> SimReplica:
        name = f"replica-{number:03}"
        record = ReplicaRecord(ReplicaId(name), f"{name}:1", self._card, self._config.blocks)
        return SimReplica(
            ReplicaConfig(record.replica_id, check_interval_ms=NEVER_MS),
            record,
            self._build_engine(),
            self._executors[number],
            self._registry,
            self._checkers,
        )

    def _build_gateway(self, number: int) -> Gateway:
        config = self._config
        cluster = Cluster(ClusterConfig())
        fleet = Fleet(
            self._registry, self._connect(f"gateway-{number}"), cluster, self._clock, FleetConfig()
        )
        choose = POLICIES[config.policy](config.seed * config.gateways + number)
        dispatch = Dispatch(fleet, cluster, self._registry, self._clock, DispatchConfig(), choose)
        return Gateway(fleet, dispatch)

    def _connect(self, node: str) -> Connect:
        def connect(record: ReplicaRecord, on_change: Callable[[], None]) -> SimLink:
            link = SimLink(
                self._data,
                record.address,
                node,
                on_change,
                stale_s=self._config.stale_s,
                is_patient=not self._config.token_by_token,
            )
            self._links.append(link)
            return link

        return connect


def simulate(config: WorldConfig, traffic: Traffic, checkers: Checkers) -> History:
    """Run a world from its beginning to its end."""

    async def live() -> History:
        clock = VirtualClock(cast(VirtualTimeLoop, asyncio.get_running_loop()))
        return await World(config, clock, checkers).run(traffic)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(live())
