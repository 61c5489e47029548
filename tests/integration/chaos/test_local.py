"""Scenarios on real processes: some that must pass, and what a verdict must not let pass."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.chaos import worlds
from orchestrator.chaos.command import command as command_line
from orchestrator.chaos.compare import Difference
from orchestrator.chaos.library import load
from orchestrator.chaos.stretch import lasting
from orchestrator.live.chaos.leaks import leaks
from orchestrator.live.chaos.processes import Processes
from orchestrator.live.chaos.redis import command
from tests.integration.chaos.liar import Lie, lying
from tests.integration.chaos.world import World, peaceful, played
from tests.waiting import wait_for

pytestmark = pytest.mark.chaos

SECONDS = 5.0


@pytest.mark.parametrize(
    "name",
    ["replica-kill", "replica-pause", "gateway-kill", "redis-kill", "network-clients"],
)
def test_no_client_hears_anything_but_the_truth(world: World, name: str) -> None:
    run = played(world, lasting(load(name), SECONDS))
    # Not what the scenario expects besides: on a slow machine who was killed is back too late.
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
    world: World, cluster: Processes, lie: Lie, difference: Difference | None
) -> None:
    with lying(cluster.gateways[0].address, lie) as liar:
        world.door = liar.url
        try:
            run = played(world, peaceful())
        finally:
            world.door = None
    assert run.verdict.is_passed is (difference is None)
    # Where words repeat by themselves, some streams count as altered instead.
    assert difference in run.verdict.wrong or difference is None


def test_a_registry_entry_that_outlives_its_replica_is_a_leak(cluster: Processes) -> None:
    until_told(cluster, lambda told: told == (), "nothing at first")
    command(cluster.redis.port, "SETBIT orch:{kv}:bstray 63 1")
    stray = ("the registry keeps 1 blocks in slot 56, which nobody has",)
    until_told(cluster, lambda told: told == stray, "a block of nobody, and nothing else")
    command(cluster.redis.port, "DEL orch:{kv}:bstray")
    command(cluster.redis.port, "SETBIT orch:{kv}:bstray 7 1")
    contradiction = "contradicts itself about 1 blocks"
    until_told(cluster, lambda told: contradiction in " ".join(told), contradiction)
    command(cluster.redis.port, "DEL orch:{kv}:bstray")
    until_told(cluster, lambda told: told == (), "nothing again")


def until_told(cluster: Processes, is_right: Callable[[tuple[str, ...]], bool], what: str) -> None:
    """What the leader knows of its replicas may be a report old, or late."""
    wait_for(lambda: is_right(leaks(cluster)), within_s=60, what=what)


def test_a_failure_on_real_processes_keeps_what_it_takes_to_see_it_again(
    world: World, cluster: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command: with a gateway that lies it fails, and the line that it prints plays on."""
    calm = tmp_path / "calm.toml"
    calm.write_text('about = "Nothing happens."\nseconds = 2.0\n[[loads]]\nlike = "chat"\n')
    monkeypatch.setattr(worlds, "named", lambda _: lambda model, keep: nullcontext(world))
    words = ["run", str(calm), "--local", "--seed=3", f"--json={tmp_path / 'out' / 'chaos.json'}"]
    with lying(cluster.gateways[0].address, Lie.DROP) as liar:
        monkeypatch.setattr(world, "door", liar.url)
        failed = CliRunner().invoke(command_line, words)
    assert failed.exit_code == 1, failed.output
    kept = json.loads((tmp_path / "out" / "chaos-calm-3.json").read_text())
    assert kept["replay"] in failed.output
    assert kept["replay"].split()[:3] == ["blockyard", "chaos", "run"]
    logs = Path(kept["logs"])
    assert logs.is_dir() and logs.parent == tmp_path / "out" / "chaos-logs", "of this run alone"
    assert {len(kept[what]) for what in ("due", "heard", "expected")} == {kept["requests"]}
    assert any("lost" in breach for breach in kept["breaches"])
    monkeypatch.setattr(world, "door", None)
    again = CliRunner().invoke(command_line, shlex.split(kept["replay"])[2:])
    assert again.exit_code == 0, again.output
