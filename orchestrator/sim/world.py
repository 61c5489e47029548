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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol, cast

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.control.orchestrator import OrchestratorConfig
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Connect, Fleet, FleetConfig
from orchestrator.policy.rebalance_config import RebalanceConfig
from orchestrator.policy.route import RouteReason
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory_announcer import Bulletin
from orchestrator.replay.recording import Recording
from orchestrator.sim.baselines.ceiling import CeilingEngine, CeilingRegistry, Computed
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Outcome, PlainClients
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.control_link import ControlExchange
from orchestrator.sim.control_plane import SimControlPlane
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import CostExecutor
from orchestrator.sim.hosts import ControlHost, GatewayHost, ReplicaHost
from orchestrator.sim.link import DataExchange, SimLink
from orchestrator.sim.loop import NS_PER_S, VirtualTimeLoop
from orchestrator.sim.mortal_executor import MortalExecutor
from orchestrator.sim.network import Exchange, Network
from orchestrator.sim.peers import CopyExchange, PeerExchange
from orchestrator.sim.policies import CEILING, OURS, POLICIES
from orchestrator.sim.registry_way import AnnouncementWay, RegistryWay
from orchestrator.sim.replica import SimReplica, Surroundings
from orchestrator.sim.rest import Rest
from orchestrator.sim.watched_registry import WatchedRegistry
from orchestrator.sim.wires import Wires
from orchestrator.workload.tokens import VOCAB_SIZE
from orchestrator.workload.traffic import Arrival, Traffic
from protos.messages import ModelCard, ReplicaId, Request, Snapshot
from protos.registry import ReplicaRecord
from replicas.config import COPY_BYTES_PER_S, ReplicaConfig
from replicas.engine.engine import Engine
from replicas.engine.shipped import StepSize, shipped

# Until nothing is under way, and nobody waits for who is gone.
SETTLE_S = 1.0
SETTLE_TRIES = 60
# Of KV: an 8B model with grouped KV heads.
TOKEN_BYTES = 128 << 10
# From pageable memory to a GPU's: a part of what PCIe 5 with 16 lanes carries.
BUS_BYTES_PER_S = 25_000_000_000
# The checkers look at engines instead, as often as they are told.
SHELL = ReplicaConfig(ReplicaId(""), check_interval_ms=10**9)


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """How large the cluster is, what its hardware costs, and who decides."""

    replicas: int = 8
    gateways: int = 1
    blocks: int = 4000  # of each replica
    block_size: int = 16
    host_blocks: int = 0  # of each replica, in host memory for paused sequences
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
    # Decode steps by one plan at most; 1 where executors are exact, or clients hear each token.
    steps_max: int = 32
    guesses_max: int = 0  # tokens that a sequence may guess in a step
    exact: bool = False  # tokens depend on what the blocks hold
    deadly: frozenset[int] = frozenset()  # seeds of requests of which exact replicas die
    revival_s: float = 1.0  # until one that died of a request is started again
    # Of each replica's link to the others, which is what copies may take of it, too.
    link_bytes_per_s: int = COPY_BYTES_PER_S
    block_ns: int | None = None  # that a block is on that link; None: an 8B model's
    copying: bool = True  # whether replicas copy cached blocks from each other
    control_planes: int = 0
    rebalance: bool = False  # whether the control plane balances; it always drains
    rebalancing: RebalanceConfig = field(default_factory=RebalanceConfig)
    shell: ReplicaConfig = SHELL
    dispatch: DispatchConfig = field(default_factory=DispatchConfig)
    skew_ns: int = 0  # between the clocks of gateways and control planes
    repeats: float = 0.0  # chance that an order or a report comes twice
    # After the last arrival. A request that has no end by then never will have one.
    patience_s: float = 6 * 3600.0

    @property
    def wire_block_ns(self) -> int:
        if self.block_ns is not None:
            return self.block_ns
        return self.block_size * TOKEN_BYTES * NS_PER_S // self.link_bytes_per_s

    @property
    def steps_by_a_plan(self) -> int:
        return 1 if self.exact or self.token_by_token else self.steps_max

    @property
    def write_block_ns(self) -> int:
        """That a step waits for a block that has come to be written."""
        return self.wire_block_ns * self.link_bytes_per_s // BUS_BYTES_PER_S


@dataclass(frozen=True, slots=True)
class History:
    """What happened."""

    config: WorldConfig
    outcomes: tuple[Outcome, ...]  # in the order in which they came to be
    snapshots: tuple[Snapshot, ...]  # of each replica at the end
    busy_ns: tuple[int, ...]  # of each replica
    placed: Mapping[RouteReason, int]
    copied_blocks: int  # found because they had come from other replicas
    messages: int  # on all links
    moves: int  # of sequences, with their blocks, from replica to replica
    ended_ns: int


class Clients(Protocol):
    """Who asks, and follows the answer."""

    async def ask(
        self,
        gateways: Sequence[GatewayHost],
        clock: VirtualClock,
        arrival: Arrival,
        request: Request,
    ) -> Outcome: ...


class Faults(Protocol):
    """What goes wrong in a world. When it returns, all is whole again."""

    async def strike(self, world: World) -> None: ...


class Calm:
    """Nothing goes wrong."""

    async def strike(self, world: World) -> None:
        return


class World:
    """Built inside the loop that it runs in."""

    def __init__(
        self,
        config: WorldConfig,
        clock: VirtualClock,
        checkers: Checkers,
        recording: Recording | None = None,
    ) -> None:
        self.config = config
        self._recording = recording
        self.clock = clock
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
        self._links: list[SimLink] = []
        self._outcomes: list[Outcome] = []
        self.registry = self._build_registry()
        self._bulletin = Bulletin()
        self.network = network = Network(config.link_delay_s)
        data: DataExchange = Exchange(network)
        peers: PeerExchange = Exchange(network)
        self._control: ControlExchange = Exchange(network)
        copies: CopyExchange = Exchange(network)
        self._around = Surroundings(
            self.registry, data, peers, self._control, {}, copies, Wires(config.wire_block_ns)
        )
        self.clocks = {
            **{f"gateway-{n}": self._clock(config.skew_ns * n) for n in range(config.gateways)},
            **{f"control-{n}": self._clock(-config.skew_ns) for n in range(config.control_planes)},
        }
        self.replicas: list[ReplicaHost] = []
        for _ in range(config.replicas):
            self.add_replica()
        self.gateways = [
            GatewayHost(f"gateway-{number}", network, self._make_gateway)
            for number in range(config.gateways)
        ]
        self.control_planes = [
            ControlHost(f"control-{number}", network, self._make_control_plane)
            for number in range(config.control_planes)
        ]

    def add_replica(self) -> ReplicaHost:
        """One more host, in which nothing lives yet."""
        name = f"replica-{len(self.replicas):03}"
        host = ReplicaHost(name, self.network, self._make_replica)
        self.replicas.append(host)
        return host

    async def run(self, traffic: Traffic, clients: Clients, faults: Faults) -> History:
        """Serve it all. An ExceptionGroup says what broke."""
        async with asyncio.TaskGroup() as self.tasks:
            for replica in self.replicas:
                replica.start(self.tasks)
            for control_plane in self.control_planes:
                control_plane.start(self.tasks)
            await self._open()
            troubles = self.tasks.create_task(faults.strike(self))
            await self._serve_in_time(traffic, clients)
            await troubles
            await self._settle()
            self._checkers.at_end(traffic, self._outcomes, self._rest())
            history = self._history()
            for gateway in self.gateways:
                await gateway.kill()
            for replica in self.replicas:
                replica.kill()
            for control_plane in self.control_planes:
                control_plane.kill()
        return history

    async def _open(self) -> None:
        """Every gateway has heard from every replica."""
        await self.clock.sleep(0)  # the replicas join
        for gateway in self.gateways:
            await gateway.start()
        lives = [gateway.life for gateway in self.gateways if gateway.life is not None]
        while any(len(life.fleet.view().accepting) < len(self.replicas) for life in lives):
            await self.clock.sleep(self.config.link_delay_s)

    async def _settle(self) -> None:
        """Until the last block events have arrived, and what is kept for a while is let go."""
        await self.clock.sleep(SETTLE_S)
        for _ in range(SETTLE_TRIES):
            if self._rest().is_reached():
                return
            await self.clock.sleep(SETTLE_S)

    def _rest(self) -> Rest:
        return Rest(self.replicas, self.gateways, self.control_planes, self._links, self.registry)

    async def _serve_in_time(self, traffic: Traffic, clients: Clients) -> None:
        try:
            async with asyncio.timeout(traffic.seconds + self.config.patience_s):
                await self._serve(traffic, clients)
        except TimeoutError:
            ended = {outcome.number for outcome in self._outcomes}
            left = [a.number for a in traffic.arrivals if a.number not in ended]
            raise AssertionError(
                f"{len(left)} requests never ended, the first is r{left[0]}"
            ) from None

    async def _serve(self, traffic: Traffic, clients: Clients) -> None:
        opened_ns = self.clock.now_ns()
        async with asyncio.TaskGroup() as asking:
            for arrival in traffic.arrivals:
                due_ns = opened_ns + arrival.arrival_ns
                if due_ns > self.clock.now_ns():
                    await self.clock.sleep((due_ns - self.clock.now_ns()) / NS_PER_S)
                asking.create_task(self._ask(arrival, traffic.block_size, clients))

    async def _ask(self, arrival: Arrival, block_size: int, clients: Clients) -> None:
        request = arrival.request(block_size)
        outcome = await clients.ask(self.gateways, self.clock, arrival, request)
        self._checkers.after_request(arrival.number, request, outcome)
        self._outcomes.append(outcome)

    def _history(self) -> History:
        lives = [host.life for host in self.replicas if host.life is not None]
        ended = [life for host in self.replicas for life in host.ended]
        gateways = [host.life for host in self.gateways if host.life is not None]
        return History(
            config=self.config,
            outcomes=tuple(self._outcomes),
            snapshots=tuple(life.replica.snapshot() for life in lives),
            busy_ns=tuple(life.executor.busy_ns for life in lives),
            placed=sum((life.dispatch.totals.placed for life in gateways), Counter()),
            copied_blocks=sum(
                life.replica.snapshot().counters.copied_tokens for life in (*ended, *lives)
            )
            // self.config.block_size,
            messages=sum(link.messages for link in self._links),
            moves=sum(
                life.replica.snapshot().counters.sequences_imported for life in (*ended, *lives)
            ),
            ended_ns=self.clock.now_ns(),
        )

    # ---- the parts

    def _clock(self, ahead_ns: int) -> VirtualClock:
        return VirtualClock(self.clock.loop, ahead_ns=ahead_ns)

    def _way_to_registry(self, node: str) -> RegistryWay:
        return RegistryWay(self.registry, self.network, node)

    def _build_registry(self) -> WatchedRegistry:
        if self.config.policy == CEILING:
            return CeilingRegistry(self.clock.now_ns, RegistryConfig(), self._computed)
        return WatchedRegistry(self.clock.now_ns, RegistryConfig())

    def _build_engine(self) -> Engine:
        cost_model = self.config.cost_model
        step = StepSize(
            cost_model.step_tokens_max,
            self.config.sequences_max,
            prompt_token_ns=2 * cost_model.prefill_token_ns,  # with its context
        )
        config = replace(
            shipped(
                self._card,
                self.config.blocks,
                step,
                guesses_max=self.config.guesses_max,
                host_blocks=self.config.host_blocks,
                host_block_ns=2 * cost_model.host_block_ns,
            ),
            waiting_max=self.config.waiting_max,
            steps_max=self.config.steps_by_a_plan,
        )
        if self.config.policy == CEILING:
            return CeilingEngine(config, self._computed)
        return Engine(config)

    def _build_executor(self, name: str, work: asyncio.Event) -> CostExecutor:
        config = self.config
        if not config.exact:
            return CostExecutor(
                self.clock, config.cost_model, work=work, write_block_ns=config.write_block_ns
            )
        return MortalExecutor(
            self.clock,
            config.cost_model,
            blocks_total=config.blocks,
            block_size=config.block_size,
            deadly=config.deadly,
            die=lambda: self._die(name),
        )

    def _die(self, name: str) -> None:
        """The replica dies of what it runs, and is started again."""
        host = next(host for host in self.replicas if host.name == name)
        host.kill()
        self.tasks.create_task(self._revive(host))

    async def _revive(self, host: ReplicaHost) -> None:
        await self.clock.sleep(self.config.revival_s)
        host.start(self.tasks)

    def _make_replica(self, name: str, life: int) -> tuple[SimReplica, CostExecutor]:
        record = ReplicaRecord(ReplicaId(name), f"{name}:{life}", self._card, self.config.blocks)
        work = asyncio.Event()
        executor = self._build_executor(name, work)
        # However few bytes stand for a block here, they take a block's time.
        bytes_per_s = -(-executor.block_bytes * NS_PER_S // self.config.wire_block_ns)
        shell = replace(
            self.config.shell,
            replica_id=record.replica_id,
            copy_bytes_per_s=bytes_per_s if self.config.copying else 0,
        )
        around = replace(self._around, registry=self._way_to_registry(name))
        engine = self._build_engine()
        replica = SimReplica(shell, record, engine, executor, work, around, self._checkers)
        return replica, executor

    def _make_gateway(self, name: str) -> tuple[Fleet, Dispatch, Cluster]:
        config = self.config
        number = int(name.rpartition("-")[2])
        clock, registry = self.clocks[name], self._way_to_registry(name)
        cluster = Cluster(ClusterConfig())
        fleet = Fleet(registry, self._connect(name), cluster, clock, FleetConfig())
        choose = POLICIES[config.policy](config.seed * config.gateways + number)
        if self._recording is not None:
            choose = self._recording.watch(choose)
        announcer = AnnouncementWay(self._bulletin, self.registry, self.network, name)
        dispatch = Dispatch(fleet, cluster, registry, clock, config.dispatch, choose, announcer)
        return fleet, dispatch, cluster

    def _make_control_plane(self, name: str, life: int) -> SimControlPlane:
        rebalance = replace(self.config.rebalancing, enabled=self.config.rebalance)
        address = f"{name}.{life}"
        return SimControlPlane(
            name,
            address,
            self._way_to_registry(name),
            self._control,
            self.clocks[name],
            OrchestratorConfig(rebalance=rebalance),
            random=Random(f"{self.config.seed} {address}"),
            repeats=self.config.repeats,
        )

    def _connect(self, node: str) -> Connect:
        def connect(record: ReplicaRecord, on_change: Callable[[], None]) -> SimLink:
            link = SimLink(
                self._around.data,
                record.address,
                node,
                on_change,
                stale_s=self.config.stale_s,
                is_patient=not self.config.token_by_token,
            )
            self._links.append(link)
            return link

        return connect


def simulate(
    config: WorldConfig,
    traffic: Traffic,
    checkers: Checkers,
    *,
    clients: Clients | None = None,
    faults: Faults | None = None,
    recording: Recording | None = None,
) -> History:
    """Run a world from its beginning to its end; all gateways' placements go on the recording."""

    async def live() -> History:
        clock = VirtualClock(cast(VirtualTimeLoop, asyncio.get_running_loop()))
        world = World(config, clock, checkers, recording)
        return await world.run(traffic, clients or PlainClients(), faults or Calm())

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(live())
