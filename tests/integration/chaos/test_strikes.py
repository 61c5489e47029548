"""Every kind of fault really strikes, and is over when it says so."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psutil
import pytest

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
from orchestrator.live.chaos import poison
from orchestrator.live.chaos.processes import Processes, replicas_up
from orchestrator.live.chaos.redis import command
from orchestrator.live.chaos.strikes import Strikes
from orchestrator.live.chaos.way import Way
from tests.waiting import wait_for

pytestmark = pytest.mark.chaos

WITHIN_S = 60
YEAR_S = 365 * 24 * 3600.0


def finish(steps: Iterator[float]) -> None:
    """To the end of a strike, at its own pace."""
    for pause_s in steps:
        time.sleep(pause_s)


def strike(cluster: Processes, fault: Fault) -> None:
    finish(Strikes(cluster).strike(fault))


def pids(cluster: Processes) -> dict[str, int]:
    return {name: member.pid for name, member in cluster.members.items()}


def changed(cluster: Processes, before: dict[str, int]) -> set[str]:
    """Who is another process now."""
    return {name for name, pid in pids(cluster).items() if before.get(name) != pid}


def is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


@dataclass(frozen=True, slots=True)
class Wrong:
    """With a way; nothing at first."""

    delay_s: float = 0.0
    loss: float = 0.0
    is_parted: bool = False


def wrong_with(way: Way) -> Wrong:
    return Wrong(way.delay_s, way.loss, way.is_parted)


def created(gateway_url: str) -> int:
    """The date of an answer."""
    body = {"model": "tiny", "prompt": "When?", "max_tokens": 1}
    answer = httpx.post(f"{gateway_url}/v1/completions", json=body, timeout=WITHIN_S)
    return int(answer.raise_for_status().json()["created"])


def test_a_killed_node_is_two_dead_processes_and_then_two_others(cluster: Processes) -> None:
    before = pids(cluster)
    steps = Strikes(cluster).strike(Kill("node-1", 0.1))
    assert next(steps) == 0.1
    alive = {name for name, member in cluster.members.items() if member.is_alive}
    assert set(before) - alive == {"replica-1", "gateway-1"}
    finish(steps)
    cluster.wait_until_serving()
    assert changed(cluster, before) == {"replica-1", "gateway-1"}


def test_the_leader_is_whoever_leads_when_it_strikes(cluster: Processes) -> None:
    for _ in range(2):  # the second time it is the other one
        before = pids(cluster)
        leader = Strikes(cluster).leader()
        strike(cluster, Kill("leader", 0.0))
        cluster.wait_until_serving()
        assert changed(cluster, before) == {leader}


def test_who_died_by_himself_is_started_again_and_who_was_killed_is_not(
    cluster: Processes,
) -> None:
    strikes = Strikes(cluster)
    steps = strikes.strike(Kill("control-0", 0.1))
    next(steps)
    cluster.members["control-1"].kill()
    strikes.supervise()
    assert not cluster.members["control-0"].is_alive
    assert cluster.members["control-1"].is_alive
    finish(steps)
    cluster.wait_until_serving()


def test_a_paused_process_is_stopped_until_it_goes_on(cluster: Processes) -> None:
    pid = cluster.members["gateway-0"].pid
    steps = Strikes(cluster).strike(Pause("gateway-0", 0.1))
    assert next(steps) == 0.1
    wait_for(lambda: is_stopped(pid), within_s=WITHIN_S, what="it is stopped")
    finish(steps)
    wait_for(lambda: not is_stopped(pid), within_s=WITHIN_S, what="it goes on")


def test_a_slow_process_runs_for_one_part_in_so_many(cluster: Processes) -> None:
    steps = Strikes(cluster).strike(Slow("redis", 10.0, 1.0))
    stopped_s = next(steps)
    wait_for(lambda: is_stopped(cluster.redis.pid), within_s=WITHIN_S, what="it is stopped")
    running_s = next(steps)
    wait_for(lambda: not is_stopped(cluster.redis.pid), within_s=WITHIN_S, what="it runs")
    assert stopped_s + running_s == pytest.approx(10 * running_s)
    finish(steps)
    assert "PONG" in command(cluster.redis.port, "PING")


def test_a_skewed_process_has_another_date_until_a_restart_one_after_the_other(
    cluster: Processes,
) -> None:
    strike(cluster, Skew("gateway-0", YEAR_S))
    ahead, right = (created(gateway.address) for gateway in cluster.gateways)
    assert ahead - right == pytest.approx(YEAR_S, abs=600)
    names = ("gateway-0", "gateway-1")
    before, most_down = pids(cluster), 0
    for pause_s in Strikes(cluster).strike(Restart(names)):
        down = [name for name in names if not cluster.members[name].is_alive]
        most_down = max(most_down, len(down))
        time.sleep(pause_s)
    assert changed(cluster, before) == set(names)
    assert most_down <= 1
    assert created(cluster.gateways[0].address) - right < YEAR_S / 2


def test_a_flushed_redis_has_forgotten(cluster: Processes) -> None:
    command(cluster.redis.port, "SET remembered yes")
    assert "yes" in command(cluster.redis.port, "GET remembered")
    strike(cluster, Flush())
    assert "yes" not in command(cluster.redis.port, "GET remembered")
    cluster.wait_until_serving()


def test_a_killed_redis_comes_back_with_nothing(cluster: Processes) -> None:
    pid = cluster.redis.pid
    command(cluster.redis.port, "SET remembered yes")
    strike(cluster, Kill("redis", 0.1))
    assert cluster.redis.pid != pid
    assert "yes" not in command(cluster.redis.port, "GET remembered")
    cluster.wait_until_serving()


def test_who_takes_over_from_a_dead_redis_has_what_it_had(cluster: Processes) -> None:
    cluster.redis.add_standby()
    pid = cluster.redis.pid
    command(cluster.redis.port, "SET remembered yes")
    wait_for(
        lambda: command(cluster.redis.port, "WAIT 1 1000").startswith(":1"),
        within_s=WITHIN_S,
        what="the standby has it, too",
    )
    strike(cluster, FailOver())
    assert cluster.redis.pid != pid
    assert "yes" in command(cluster.redis.port, "GET remembered")
    assert "role:master" in command(cluster.redis.port, "INFO replication")
    cluster.wait_until_serving()


def test_a_partition_is_noticed_by_the_two_alone(cluster: Processes) -> None:
    steps = Strikes(cluster).strike(Part("gateway-0", "replica-0", 60.0))
    next(steps)
    parted = {"gateway-0": {"replica-1"}, "gateway-1": {"replica-0", "replica-1"}}
    wait_for(
        lambda: sees(cluster) == parted,
        within_s=WITHIN_S,
        what="one gateway has lost the replica, and the other has not",
    )
    with suppress(StopIteration):
        next(steps)
    cluster.wait_until_serving()


def sees(cluster: Processes) -> dict[str, set[str]]:
    return {name: replicas_up(text) for name, text in cluster.metrics().items()}


@pytest.mark.parametrize(
    ("fault", "during"),
    [
        (Delay("gateway-0", "redis", 0.01, 0.1), Wrong(delay_s=0.01)),
        (Loss("gateway-0", "redis", 0.5, 0.1), Wrong(loss=0.5)),
        (Part("gateway-0", "redis", 0.1), Wrong(is_parted=True)),
    ],
)
def test_a_way_is_disturbed_until_the_strike_is_over(
    cluster: Processes, fault: Fault, during: Wrong
) -> None:
    before, way = pids(cluster), cluster.network.way("gateway-0", "redis")
    wait_for(lambda: way.connections, within_s=WITHIN_S, what="they speak")
    steps = Strikes(cluster).strike(fault)
    assert next(steps) == 0.1
    assert wrong_with(way) == during
    assert wrong_with(cluster.network.way("gateway-1", "redis")) == Wrong()
    finish(steps)
    assert wrong_with(way) == Wrong()
    cluster.wait_until_serving()
    assert not changed(cluster, before)


def answers(url: str, within_s: float = 1.0) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=within_s).is_success
    except httpx.TransportError:
        return False


def answers_in_time(url: str) -> bool:
    """However slow the machine is."""
    return answers(url, WITHIN_S)


def test_clients_are_parted_from_one_gateway_and_nobody_else_is(cluster: Processes) -> None:
    one, other = cluster.gateways
    ways = [cluster.way_to(one), cluster.way_to(other)]
    assert all(map(answers_in_time, ways))
    steps = Strikes(cluster).strike(Part("clients", "gateway-0", 0.1))
    next(steps)
    assert not answers(ways[0])
    assert answers_in_time(one.address) and answers_in_time(ways[1])
    cluster.wait_until_serving()
    finish(steps)
    assert answers_in_time(ways[0])


def test_a_broken_connection_is_another_one_afterwards(cluster: Processes) -> None:
    before, way = pids(cluster), cluster.network.way("gateway-0", "replica-0")
    open_before = wait_for(
        lambda: set(way.connections), within_s=WITHIN_S, what="they are connected"
    )
    strike(cluster, Break("gateway-0", "replica-0"))
    wait_for(
        lambda: open_before.isdisjoint(way.connections), within_s=WITHIN_S, what="all are reset"
    )
    cluster.wait_until_serving()
    assert not changed(cluster, before)


def test_nobody_is_parted_from_himself(cluster: Processes) -> None:
    before = pids(cluster)
    finish(Strikes(cluster).strike(Part(Strikes(cluster).leader(), "leader", 0.1)))
    assert not changed(cluster, before)


def test_the_last_replica_leaves_in_order_and_new_ones_come(cluster: Processes) -> None:
    strike(cluster, Scale(1))
    assert set(cluster.replicas) == {"replica-0"}
    wait_for(
        lambda: sees(cluster) == {"gateway-0": {"replica-0"}, "gateway-1": {"replica-0"}},
        within_s=WITHIN_S,
        what="everybody has forgotten who left",
    )
    strike(cluster, Scale(2))
    assert set(cluster.replicas) == {"replica-0", "replica-1"}
    cluster.wait_until_serving()


def test_a_replica_dies_of_poison(cluster: Processes) -> None:
    body = {"model": "tiny", "prompt": poison.TEXT, "max_tokens": 5}
    lives = {name: replica.lives for name, replica in cluster.replicas.items()}
    strikes = Strikes(cluster)

    def poisoned() -> list[str]:
        """Asked again where that went no further than the gateway while it was waited for."""
        with suppress(httpx.HTTPError):
            httpx.post(f"{cluster.gateways[0].address}/v1/completions", json=body, timeout=1.0)
        return [name for name, replica in cluster.replicas.items() if not replica.is_alive]

    dead = wait_for(poisoned, within_s=WITHIN_S, what="it has died")

    def is_whole() -> bool:
        strikes.supervise()  # its gateway may try the other one meanwhile, which dies as well
        return cluster.is_serving()

    wait_for(is_whole, within_s=WITHIN_S, what="whoever died is replaced")
    assert all(cluster.replicas[name].lives > lives[name] for name in dead)


def test_who_is_stopped_by_a_signal_ends_in_order_all_the_same(cluster: Processes) -> None:
    cluster.members["control-1"].signal(signal.SIGSTOP)
    cluster.stop("control-1")
    assert not cluster.members["control-1"].is_alive
