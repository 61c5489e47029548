"""A cluster behind a URL as a World: nothing is started, nothing but faults is changed.

Clients ask the URL, and go on there when a connection breaks; which gateway
answers is the cluster's affair. Faults are struck through kubectl, where
options say which namespace it is; without them only scenarios without faults
can be played. The scenario's shape is not made: a cluster has the size that it
has, and a member that it does not have cannot be harmed.

What was still held afterwards is read from a gateway's metrics and, where a
control plane's address is given, from the operator's status. Other traffic on
the same cluster looks like a leak; so a cluster that is not quiet before the
run is told, and counted as `leak_checks_skipped`, instead of being judged.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from orchestrator.chaos.faults import TimedFault
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.world import CannotDo, Observed, Struck
from orchestrator.client_key import client_key
from orchestrator.live.chaos import told
from orchestrator.live.chaos.bodies import Catalogue, asks_of, patience_of
from orchestrator.live.chaos.kubectl import Kubectl, KubectlOptions
from orchestrator.live.chaos.kubernetes import Kubernetes
from orchestrator.live.chaos.references import References, hearing_at
from orchestrator.live.chaos.steps import Planner
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.gateway_door import GatewayDoor
from orchestrator.live.operator_client import fleet
from orchestrator.load.ask import Ask, Clock, clock_from_now
from orchestrator.load.open_loop import open_loop
from orchestrator.load.wire import Access
from orchestrator.workload.heard import Heard
from protos.certificates import BadCertificates
from protos.messages import Snapshot
from protos.transport import Transport
from protos.trust import trusting

QUIET_S = 60.0
CALM_S = 10.0
LOOK_EVERY_S = 0.5
Tell = Callable[[str], None]


@contextmanager
def target_cluster(
    url: str,
    *,
    model: str | None,
    control: str | None,
    kubectl: KubectlOptions | None,
    tls_ca: Path | None = None,
    internal_tls: Path | None = None,
) -> Iterator[Target]:
    """The cluster that answers at this URL. Raises CannotDo where none does."""
    try:
        trust = None if tls_ca is None else trusting(tls_ca)
        transport = Transport(internal_tls)
    except BadCertificates as error:
        raise CannotDo(str(error)) from error
    door = GatewayDoor(url.rstrip("/"), trust)
    control_door = None if control is None else ControlDoor(control, transport)
    catalogue = Catalogue(model or _model_at(door))
    kubernetes = None
    if kubectl is not None:
        planner = Planner(kubectl, secrets.token_hex(3))
        kubernetes = Kubernetes(Kubectl(kubectl), planner)
    yield Target(door, catalogue, control_door, kubernetes)


@dataclass(slots=True)
class Target:
    """Plays scenarios against it, one after the other."""

    door: GatewayDoor
    catalogue: Catalogue
    control: ControlDoor | None
    kubernetes: Kubernetes | None
    _references: References = field(default_factory=References)

    @property
    def _access(self) -> Access:
        return Access(client_key(os.environ), self.door.trust)

    def play(self, scenario: Scenario, seed: int, tell: Tell) -> Observed:
        """Raises CannotDo before anything is asked or broken."""
        return asyncio.run(self._play(scenario, seed, tell))

    async def _play(self, scenario: Scenario, seed: int, tell: Tell) -> Observed:
        heal_when_terminated()
        await self._prepare(scenario)
        asks = asks_of(scenario, seed, self.catalogue)
        await self._learn(asks, tell)
        replicas = told.replicas(await self._metrics())
        others = await self._held(replicas, within_s=CALM_S)
        gateways, engines = await self._gateways(), self._engines()
        clock = clock_from_now()
        try:
            heard, strikes = await self._disturbed(scenario, asks, clock, tell)
        finally:
            scars = await self._heal(tell)
        seconds = clock()
        if others:
            tell("others use this cluster: what is left over cannot be told from what is theirs")
        leaks = () if others else await self._held(replicas, within_s=QUIET_S)
        expected = self._references.expected(asks)
        totals = {
            **told.counted(gateways, await self._gateways_still_there()),
            **told.computed(engines, self._engines()),
            "leak_checks_skipped": int(bool(others)),
            "bodies_not_repeatable": self._references.unrepeatable(asks),
            "requests_not_compared": len(asks) - len(expected),
        }
        struck = tuple(one for one in strikes if isinstance(one, Struck))
        failed = tuple(one for one in strikes if isinstance(one, str))
        left = (*failed, *scars, *leaks)
        return Observed(heard, expected, struck, left, totals, seconds, is_repeatable=False)

    async def _prepare(self, scenario: Scenario) -> None:
        if any(load.is_poison for load in scenario.loads):
            raise CannotDo("poison: only replicas that were started to die of it do")
        faults = [timed.fault for timed in scenario.faults]
        if self.kubernetes is not None:
            await self.kubernetes.prepare(faults)
        elif faults:
            raise CannotDo(f"{faults[0]}: behind a URL nothing can be harmed without --kubectl")

    async def _learn(self, asks: Sequence[Ask], tell: Tell) -> None:
        """What the bodies say undisturbed, from the same URL."""
        tell("asking what every body says undisturbed")
        hear = hearing_at([self.door.url], clock_from_now(), self._access)
        learned = await self._references.learn(asks, hear)
        unrepeatable = self._references.unrepeatable(asks)
        tell(f"{learned} new bodies asked; {unrepeatable} do not say the same twice")

    async def _disturbed(
        self, scenario: Scenario, asks: Sequence[Ask], clock: Clock, tell: Tell
    ) -> tuple[tuple[Heard, ...], list[Struck | str]]:
        """Requests and faults, each at its time."""
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(
                open_loop(
                    asks,
                    [self.door.url],
                    clock,
                    resume=True,
                    access=self._access,
                    patience=patience_of(scenario),
                )
            )
            striking = [
                tasks.create_task(self._strike(timed, clock, tell)) for timed in scenario.faults
            ]
        return asking.result(), [one.result() for one in striking]

    async def _strike(self, timed: TimedFault, clock: Clock, tell: Tell) -> Struck | str:
        """A fault that was planned and yet fails is no reason to stop, but one to be judged by."""
        assert self.kubernetes is not None, "prepared"
        await asyncio.sleep(timed.at_s - clock())
        began_s = clock()
        tell(f"{timed.fault}")
        try:
            await self.kubernetes.strike(timed.fault)
        except CannotDo as error:
            tell(f"{error}")
            return f"not made to happen: {error}"
        return Struck(timed, began_s, clock())

    async def _heal(self, tell: Tell) -> tuple[str, ...]:
        if self.kubernetes is None:
            return ()
        tell("healing")
        try:
            return await self.kubernetes.heal()
        except CannotDo as error:
            return (f"not healed: {error}",)

    # ---- what it says of itself

    async def _held(self, replicas: int, *, within_s: float) -> tuple[str, ...]:
        """What is still held, when nothing should be, after waiting for quiet for so long."""
        left: tuple[str, ...] = ()
        for _ in range(round(within_s / LOOK_EVERY_S)):
            left = await self._held_now(replicas)
            if not left:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        return left

    async def _held_now(self, replicas: int) -> tuple[str, ...]:
        try:
            text = await self._metrics()
            sequences = self._sequences()
        except (CannotDo, ConnectionError) as error:
            return (f"nobody tells what is held: {error}",)
        if told.replicas(text) < replicas:
            return (f"{told.replicas(text)} of {replicas} replicas tell what they hold",)
        return told.held(text) + sequences

    async def _metrics(self) -> str:
        """Of any gateway: from inside where we may, since a way in may not lead to /metrics."""
        gateways = await self._gateways()
        for text in gateways.values():
            return text
        return _get(self.door, "/metrics").text

    async def _gateways(self) -> Mapping[str, str]:
        return {} if self.kubernetes is None else await self.kubernetes.gateway_metrics()

    async def _gateways_still_there(self) -> Mapping[str, str]:
        """None where nobody tells: that is among the leaks already."""
        try:
            return await self._gateways()
        except CannotDo:
            return {}

    def _engines(self) -> tuple[Snapshot, ...]:
        """Of all replicas; of none while nobody leads."""
        if self.control is None:
            return ()
        try:
            return tuple(state.snapshot for state in fleet(self.control).replicas)
        except ConnectionError:
            return ()

    def _sequences(self) -> tuple[str, ...]:
        """What the control plane still sees."""
        if self.control is None:
            return ()
        return tuple(
            f"{state.record.replica_id} has the sequence {sequence.request_id}"
            for state in fleet(self.control, sequences=True).replicas
            for sequence in state.sequences
        )


def heal_when_terminated() -> None:
    """SIGTERM, as Kubernetes ends a Job, cancels the run: what it has broken is mended first."""
    run = asyncio.current_task()
    assert run is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.cancel)


def _model_at(door: GatewayDoor) -> str:
    models = _get(door, "/v1/models").json()["data"]
    if not models:
        raise CannotDo(f"{door.url} serves no model now")
    return str(models[0]["id"])


def _get(door: GatewayDoor, path: str) -> httpx.Response:
    try:
        with door.client(httpx.Timeout(10.0)) as client:
            return client.get(path).raise_for_status()
    except httpx.HTTPError as error:
        raise CannotDo(f"{door.url}{path}: {error}") from error
