"""Each fault of a scenario, made to happen to real processes and undone.

A strike is a generator: it does something, yields for how many seconds it has
nothing to do, and does the next thing. So one thread makes many faults happen
at once (timeline.py), and it is the main thread, with which members live and
die. Faults may overlap in any way: what two of them hold ends with the later one, and
what one strike has started another may kill before it serves.

`leader` and `node-N` mean whom they name at the moment of the strike. What a
skew covers is told in launcher.py; since no process has a clock of its own, a
member whose clock jumps is stopped in order and started with the wrong one.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from itertools import product

from orchestrator.chaos.faults import (
    Break,
    Delay,
    FailOver,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Scale,
    Skew,
    Slow,
)
from orchestrator.chaos.holds import Holds
from orchestrator.live import operator_client
from orchestrator.live.chaos.disturbances import Disturbances
from orchestrator.live.chaos.forks import DidNotStart
from orchestrator.live.chaos.process import STOP_S_MAX
from orchestrator.live.chaos.processes import REDIS, NotHealthy, Processes
from orchestrator.live.chaos.redis import RedisFailed
from orchestrator.live.chaos.timeline import LOOK_S, Steps
from orchestrator.live.registry_url import leader_at
from protos.messages import ReplicaId
from protos.registry import RegistryUnavailable

LEAST_S = 0.001  # of one turn of a process that is slowed; the kernel's own turns are no shorter
TURN_S = 0.05  # of a stopped and a running part together, where that is enough
RESTART_S = 1.0  # between two births of one that dies by himself again and again
DRAIN_S_MAX = 30.0  # then it stops all the same, and hands back what it runs
MEET_S_MAX = 8.0  # until others know who was restarted, before the next one is


class Strikes:
    """Makes faults happen to one cluster."""

    def __init__(self, cluster: Processes) -> None:
        self.failures: list[str] = []  # a sentence for each fault that failed to happen
        self._cluster = cluster
        self._down = Holds()  # members that a strike has ended, and will start
        self._stopped = Holds()  # lives, by name and pid: who begins anew is not stopped
        self._disturbances = Disturbances(cluster.network)

    def supervise(self) -> None:
        """Start again who died by himself, as whatever deploys a cluster would."""
        for name, member in self._cluster.members.items():
            is_due = time.monotonic() - member.born_s > RESTART_S
            if is_due and not member.is_alive and not self._down.wants(name):
                member.launch(skew_s=member.skew_s)

    def leader(self) -> str:
        """By what Redis says; where it says nothing, the first control plane that lives."""
        planes = self._cluster.control_planes
        leader = None
        if not self._cluster.redis.is_stopped:  # it would be waited for
            with suppress(RegistryUnavailable):
                leader = asyncio.run(leader_at(self._cluster.redis_url))
        leading = [p.name for p in planes if leader is not None and p.address == leader.address]
        alive = [plane.name for plane in planes if plane.is_alive]
        return next(iter((*leading, *alive, planes[0].name)))

    def strike(self, fault: Fault) -> Steps:
        """From the moment that it strikes until it has healed; or one more of the failures."""
        try:
            yield from self._strike(fault)
        except (DidNotStart, NotHealthy, RedisFailed) as error:
            self.failures.append(f"{fault} could not be made to happen: {error}")

    def _strike(self, fault: Fault) -> Steps:
        match fault:
            case Kill(who, seconds):
                yield from self._kill(self._named(who), seconds)
            case Pause(who, seconds):
                yield from self._pause(self._named(who), seconds)
            case Slow(who, times, seconds):
                yield from self._slow(self._named(who), times, seconds)
            case Restart(names):
                for name in (name for who in names for name in self._named(who)):
                    yield from self._restart(name, skew_s=0.0)
            case Skew(who, seconds):
                for name in self._named(who):
                    yield from self._restart(name, skew_s=seconds)
            case Flush():
                yield from self._flush()
            case FailOver():
                self._cluster.redis.fail_over()
                self._reach_redis()
            case Scale(replicas):
                yield from self._scale(replicas)
            case Delay() | Loss() | Part() | Break():
                yield from self._disturb(fault)

    def _named(self, who: str) -> tuple[str, ...]:
        """The members that a name means now."""
        if who == "leader":
            return (self.leader(),)
        if who.startswith("node-"):
            number = who.removeprefix("node-")
            return (f"replica-{number}", f"gateway-{number}")
        return (who,)

    def _kill(self, names: tuple[str, ...], seconds: float) -> Steps:
        for name in names:
            (self._cluster.redis if name == REDIS else self._cluster.members[name]).kill()
            self._down.begin(name, nothing)  # who is down already may be stopping in order
        yield seconds
        for name in names:
            self._down.end(name, partial(self._begin, name))
        for name in names:
            yield from self._started(name)

    def _begin(self, name: str, *, skew_s: float = 0.0) -> None:
        """Start who was ended; nobody where it has left for good meanwhile."""
        if name == REDIS:
            self._cluster.redis.revive()
            self._reach_redis()
        elif name in self._cluster.members:
            self._cluster.members[name].ensure_launched(skew_s=skew_s)

    def _started(self, name: str) -> Steps:
        """Until it listens, or another strike has ended it."""
        member = self._cluster.members.get(name)
        while member is not None and member.is_alive and not member.address:
            yield LOOK_S

    def _flush(self) -> Steps:
        """One that hangs forgets when it goes on; one that is dead has forgotten."""
        redis = self._cluster.redis
        while redis.is_stopped:
            yield LOOK_S
        if redis.is_alive:
            redis.flush()

    def _pause(self, names: tuple[str, ...], seconds: float) -> Steps:
        lives = [(name, self._pid(name)) for name in names]
        for life in lives:
            self._stopped.begin(life, partial(self._signal, *life, signal.SIGSTOP))
        yield seconds
        for life in lives:
            self._stopped.end(life, partial(self._signal, *life, signal.SIGCONT))

    def _pid(self, name: str) -> int:
        return (self._cluster.redis if name == REDIS else self._cluster.members[name]).pid

    def _signal(self, name: str, pid: int, number: signal.Signals) -> None:
        """Nothing where that life is over."""
        if (name == REDIS or name in self._cluster.members) and self._pid(name) == pid:
            (self._cluster.redis if name == REDIS else self._cluster.members[name]).signal(number)

    def _slow(self, names: tuple[str, ...], times: float, seconds: float) -> Steps:
        """It runs for one part in so many, in turns too short to be taken for death."""
        running_s = max(LEAST_S, TURN_S / times)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield from self._pause(names, running_s * (times - 1))
            yield running_s

    def _restart(self, name: str, *, skew_s: float) -> Steps:
        yield from self._left(name)
        self._down.end(name, partial(self._begin, name, skew_s=skew_s))
        yield from self._started(name)
        until = time.monotonic() + MEET_S_MAX
        while time.monotonic() < until and not self._cluster.is_serving():
            yield LOOK_S

    def _left(self, name: str) -> Steps:
        """Stop it in order; it is held down until who comes back from here ends that."""
        member = self._cluster.members[name]
        self._down.begin(name, member.ask_to_stop)
        until = time.monotonic() + STOP_S_MAX
        while member.is_alive:
            yield LOOK_S
            if time.monotonic() > until:
                member.kill()

    def _scale(self, replicas: int) -> Steps:
        there = sorted(self._cluster.replicas)
        wanted = [f"replica-{number}" for number in range(replicas)]
        added = [self._cluster.add_replica(name) for name in wanted if name not in there]
        for name in added:
            self._cluster.members[name].launch()
        for name in added:
            yield from self._started(name)
        for name in reversed(there):
            if name not in wanted:
                yield from self._drained(name)
                yield from self._left(name)
                self._cluster.forget(name)
                self._down.end(name, nothing)

    def _drained(self, name: str) -> Steps:
        """What it runs moves elsewhere first; where nobody leads, it stops without."""

        def drain() -> None:
            with suppress(ConnectionError, LookupError, operator_client.CallRefused):
                for _ in operator_client.drain(self._cluster.control, ReplicaId(name)):
                    pass

        draining = threading.Thread(target=drain, daemon=True)
        draining.start()
        until = time.monotonic() + DRAIN_S_MAX
        while draining.is_alive() and time.monotonic() < until:
            yield LOOK_S

    def _disturb(self, fault: Delay | Loss | Part | Break) -> Steps:
        pairs = [
            pair
            for pair in product(self._named(fault.one), self._named(fault.other))
            if pair[0] != pair[1]
        ]  # `leader` may be the very member that it is parted from
        if isinstance(fault, Break):
            for pair in pairs:
                self._cluster.network.sever(*pair)
        else:
            self._disturbances.begin(fault, pairs)
            yield fault.seconds
            self._disturbances.end(fault, pairs)

    def _reach_redis(self) -> None:
        """Everybody's way to it leads to the server that is the primary now."""
        self._cluster.network.redirect(REDIS, self._cluster.redis.port)


def nothing() -> None:
    """Nobody needs to do anything."""
