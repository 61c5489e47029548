"""Scenarios on real processes: three that must pass, and what a verdict must not let pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from orchestrator.chaos.compare import Difference
from orchestrator.chaos.library import load
from orchestrator.chaos.run import Run, play
from orchestrator.chaos.scenario import Expectations, Scenario
from orchestrator.chaos.stretch import lasting
from orchestrator.live.chaos.leaks import leaks
from orchestrator.live.chaos.local import Local
from orchestrator.live.chaos.loop_thread import LoopThread
from orchestrator.live.chaos.redis import command
from tests.integration.chaos.liar import Lie, lying

pytestmark = pytest.mark.chaos

SECONDS = 5.0


@dataclass
class World(Local):
    """One whose clients may be sent to another door."""

    door: str | None = None

    def doors(self) -> list[str]:
        return super().doors() if self.door is None else [self.door]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    logs: Path = tmp_path_factory.mktemp("chaos")
    with LoopThread("clients") as clients, World("tiny", logs, clients) as local:
        local.start(peaceful().shape, print)
        yield local


def played(world: World, scenario: Scenario) -> Run:
    run = play(world, scenario, 0, print)
    assert isinstance(run, Run)
    return run


def peaceful() -> Scenario:
    """Nothing goes wrong."""
    scenario = lasting(load("redis-flush"), 2.0)
    return replace(scenario, name="peaceful", faults=(), expect=Expectations())


@pytest.mark.parametrize("name", ["replica-kill", "gateway-kill", "redis-kill"])
def test_no_client_hears_anything_but_the_truth(world: World, name: str) -> None:
    run = played(world, lasting(load(name), SECONDS))
    assert run.verdict.breaches == ()
    assert len(run.observed.struck) == len(run.scenario.faults)
    assert len(run.observed.expected) == len(run.observed.heard), "all can be compared"


@pytest.mark.parametrize(
    ("lie", "difference"),
    [
        (Lie.NONE, None),
        (Lie.DROP, Difference.LOST),
        (Lie.REPEAT_AFTER_RESUME, Difference.DUPLICATED),
    ],
)
def test_a_gateway_that_lies_is_found_out(
    world: World, lie: Lie, difference: Difference | None
) -> None:
    with lying(world.cluster.gateways[0].address, lie) as liar:
        world.door = liar.url
        try:
            run = played(world, peaceful())
        finally:
            world.door = None
    assert run.verdict.is_passed is (difference is None)
    # Where words repeat by themselves, some streams count as altered instead.
    assert difference in run.verdict.wrong or difference is None


def test_a_registry_entry_that_outlives_its_replica_is_a_leak(world: World) -> None:
    cluster = world.cluster
    assert leaks(cluster) == ()
    command(cluster.redis.port, "SETBIT orch:{kv}:bstray 63 1")
    assert leaks(cluster) == ("the registry keeps 1 blocks in slot 56, which nobody has",)
    command(cluster.redis.port, "DEL orch:{kv}:bstray")
    command(cluster.redis.port, "SETBIT orch:{kv}:bstray 7 1")
    told = leaks(cluster)
    assert any("contradicts itself about 1 blocks" in sentence for sentence in told), told
    command(cluster.redis.port, "DEL orch:{kv}:bstray")
    assert leaks(cluster) == ()


def test_blocks_that_are_still_in_use_are_a_leak_and_end_the_cluster(world: World) -> None:
    """Somebody listens to one stream after the other that no scenario asked for."""
    url, is_over = f"{world.cluster.gateways[0].address}/v1/completions", threading.Event()
    body = {"model": "tiny", "prompt": "Go on.", "max_tokens": 4000, "ignore_eos": True}

    def listen() -> None:
        with suppress(httpx.TransportError):  # the cluster ends
            while not is_over.is_set():
                stream_again()

    def stream_again() -> None:
        with httpx.stream("POST", url, json={**body, "stream": True}, timeout=60.0) as answer:
            for _ in answer.iter_lines():
                if is_over.is_set():
                    return

    listening = threading.Thread(target=listen)
    listening.start()
    world.quiet_s_max = 0.5
    try:
        run = played(world, peaceful())
    finally:
        is_over.set()
        listening.join()
    assert not run.verdict.is_passed
    assert any("blocks in use" in leak for leak in run.observed.leaks), run.observed.leaks
