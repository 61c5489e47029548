"""A cluster of processes on this machine as a World: real faults, real clients.

It is started for the first scenario and lives on: after each, what went wrong
is healed, and when all is quiet, what is still held is a leak. Only a cluster
that does not recover, or that leaks, is replaced. Clients ask every gateway in
turn over HTTP, and go on at the next one when a connection breaks or, in some
scenarios, when it is silent for too long.

Faults strike in the main thread, with which the processes live and die;
clients have a thread and an event loop of their own, and so has the network.
What every member says goes to a folder, which is kept where one is given.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Self

from orchestrator.chaos.faults import CLIENTS, FailOver
from orchestrator.chaos.scenario import Scenario, Shape
from orchestrator.chaos.world import CannotDo, Observed, Struck
from orchestrator.live.chaos import told
from orchestrator.live.chaos.bodies import BYTE_LEVEL, Catalogue, asks_of, patience_of
from orchestrator.live.chaos.forks import DidNotStart
from orchestrator.live.chaos.leaks import leaks
from orchestrator.live.chaos.loop_thread import LoopThread
from orchestrator.live.chaos.peace import Peace
from orchestrator.live.chaos.processes import REDIS, NotHealthy, Processes
from orchestrator.live.chaos.references import hearing_at
from orchestrator.live.chaos.strikes import Strikes
from orchestrator.live.chaos.timeline import play
from orchestrator.load.ask import Ask, Clock, clock_from_now
from orchestrator.load.open_loop import open_loop
from orchestrator.workload.heard import Heard
from protos.messages import Snapshot

QUIET_S_MAX = 40.0  # a choice that nobody follows is kept for ten seconds
LOOK_S = 0.1
Tell = Callable[[str], None]


@contextmanager
def local_cluster(model: str, keep: Path | None) -> Iterator[Local]:
    """Nothing is started before the first scenario. `keep` is a folder for logs."""
    with LoopThread("clients") as clients, Local(model, keep, clients) as local:
        yield local


@dataclass
class Local:
    """Plays scenarios on one cluster, one after the other. A context manager."""

    model: str
    keep: Path | None
    clients: LoopThread
    quiet_s_max: float = QUIET_S_MAX
    _cluster: Processes | None = None
    _undo: ExitStack = field(default_factory=ExitStack)
    _peace: Peace = field(default_factory=Peace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def cluster(self) -> Processes:
        assert self._cluster is not None, "started by the first scenario"
        return self._cluster

    def doors(self, scenario: Scenario) -> list[str]:
        """Where clients ask while things go wrong: at the gateways, by name.

        At the ends of their ways, where something may be wrong with those: what passes a way
        takes time of the machine.
        """
        gateways = self.cluster.gateways
        if any(CLIENTS in astuple(timed.fault) for timed in scenario.faults):
            return [self.cluster.way_to(gateway) for gateway in gateways]
        return [gateway.address for gateway in gateways]

    def play(self, scenario: Scenario, seed: int, tell: Tell) -> Observed:
        """Raises CannotDo before anything is asked or broken; the main thread's to call."""
        catalogue = Catalogue(self.model)
        if any(load.is_poison for load in scenario.loads) and self.model != BYTE_LEVEL:
            raise CannotDo(
                f"poison: only replicas of the model {BYTE_LEVEL} know what it looks like"
            )
        asks = asks_of(scenario, seed, catalogue)
        try:
            self.start(scenario.shape, tell)
            self._learn(asks, tell)
            return self._disturb(scenario, asks, tell)
        except BaseException:
            self._discard()
            raise

    # ---- before

    def start(self, shape: Shape, tell: Tell) -> None:
        """A healthy cluster of this shape."""
        if self._cluster is not None and self._cluster.blocks != shape.blocks:
            self._cluster.blocks = shape.blocks
            names = tuple(self._cluster.replicas)
            self._cluster.stop(*names)
            for name in names:
                self._cluster.forget(name)
        if self._cluster is None:
            tell("starting a cluster")
            cluster = Processes(blocks=shape.blocks, model=self.model, folder=self._folder())
            self._cluster = self._undo.enter_context(cluster)
        fit(self._cluster, shape)

    def _folder(self) -> Path | None:
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
        return self.keep

    def _learn(self, asks: Sequence[Ask], tell: Tell) -> None:
        clock = clock_from_now()
        hear = hearing_at([gateway.address for gateway in self.cluster.gateways], clock)
        learned = self.clients.begin(self._peace.learn(asks, hear)).result()
        if learned:
            tell(f"heard {learned} new bodies undisturbed in {clock():.1f} s")
            self._settle()

    # ---- during

    def _disturb(self, scenario: Scenario, asks: Sequence[Ask], tell: Tell) -> Observed:
        cluster = self.cluster
        if any(isinstance(timed.fault, FailOver) for timed in scenario.faults):
            cluster.redis.add_standby()
        gateways, engines = cluster.metrics(), snapshots(cluster)
        clock = clock_from_now()
        strikes = Strikes(cluster)
        heard, struck = self._hear_disturbed(scenario, asks, strikes, clock, tell)
        seconds = clock()
        left = (*strikes.failures, *(self._heal(scenario.shape) or self._settle()))
        expected = self._peace.expected(asks)
        counted = told.counted(gateways, cluster.metrics())
        totals = {
            **counted,
            **told.computed(engines, snapshots(cluster)),
            "requests_not_compared": len(asks) - len(expected),
        }
        if left:
            self._discard()
        return Observed(heard, expected, struck, left, totals, seconds)

    def _hear_disturbed(
        self,
        scenario: Scenario,
        asks: Sequence[Ask],
        strikes: Strikes,
        clock: Clock,
        tell: Tell,
    ) -> tuple[tuple[Heard, ...], tuple[Struck, ...]]:
        """Requests and faults, each at its time, until all is said and done."""
        doors, patience = self.doors(scenario), patience_of(scenario)
        asking = self.clients.begin(open_loop(asks, doors, clock, resume=True, patience=patience))
        try:
            struck = play(
                scenario.faults,
                strikes.strike,
                clock,
                meanwhile=strikes.supervise,
                until=asking.done,
                tell=tell,
            )
            return asking.result(), struck
        finally:
            asking.cancel()

    # ---- after

    def _heal(self, shape: Shape) -> tuple[str, ...]:
        """The cluster as it was before; a sentence where it cannot be."""
        try:
            heal(self.cluster, shape)
        except (DidNotStart, NotHealthy) as error:
            return (f"the cluster did not recover: {error}",)
        return ()

    def _settle(self) -> tuple[str, ...]:
        """Wait until all is quiet; what is held still after a good while."""
        deadline = time.monotonic() + self.quiet_s_max
        while left := leaks(self.cluster):
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_S)
        return left

    def _discard(self) -> None:
        """The next scenario begins with another cluster."""
        self._cluster = None
        self._undo.close()


def fit(cluster: Processes, shape: Shape) -> None:
    """Start and stop until it has this shape."""
    cluster.start(
        replicas=[f"replica-{number}" for number in range(shape.replicas)],
        gateways=shape.gateways,
        control_planes=shape.control_planes,
    )


def heal(cluster: Processes, shape: Shape) -> None:
    """Undo all that a fault may have left. Raises DidNotStart, NotHealthy."""
    cluster.network.heal_all()
    cluster.redis.signal(signal.SIGCONT)
    cluster.redis.revive()
    cluster.network.redirect(REDIS, cluster.redis.port)
    for member in cluster.members.values():
        member.signal(signal.SIGCONT)
    cluster.stop(*(name for name, member in cluster.members.items() if member.skew_s))
    fit(cluster, shape)


def snapshots(cluster: Processes) -> list[Snapshot]:
    return [state.snapshot for state in cluster.fleet().replicas]
