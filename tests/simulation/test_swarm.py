"""Many small worlds, each from its seed, in which everything goes wrong that can.

`blockyard swarm` runs more of them. A seed that ever failed stays in seeds.py.
"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from orchestrator.sim.policies import POLICIES
from orchestrator.sim.report import trace_hash
from orchestrator.sim.swarm.command import command
from orchestrator.sim.swarm.scenario import scenario
from replicas.engine.engine import Engine
from tests.simulation.seeds import SEEDS_OF_OLD
from tests.simulation.workloads import run, small_config, small_traffic


@pytest.mark.parametrize("seed", [*SEEDS_OF_OLD, *range(120)])
def test_a_world_in_trouble_keeps_every_rule(seed: int) -> None:
    world = scenario(seed)
    assert len(world.run().outcomes) == len(world.traffic.arrivals)


@pytest.mark.parametrize("seed", range(10))
def test_a_calm_world_answers_everybody(seed: int) -> None:
    world = scenario(seed, is_calm=True)
    never_fits = {"never_fits", "client_left"}
    codes = {getattr(outcome, "code", "answered") for outcome in world.run().outcomes}
    assert codes <= {"answered", *never_fits}


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves_everything(policy: str) -> None:
    for seed in range(4):
        history = run(small_config(seed, policy=policy), small_traffic(seed))
        assert len(history.outcomes) == 40


def test_one_seed_makes_one_history() -> None:
    first, again = (scenario(3).run() for _ in range(2))
    assert trace_hash(first) == trace_hash(again)
    assert trace_hash(scenario(4).run()) != trace_hash(first)


def test_a_seed_that_fails_prints_the_line_that_shows_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Engine, "check", broken)
    result = CliRunner().invoke(command, ["--seeds", "2", "--first", "7", "--workers", "1"])
    assert result.exit_code == 1
    assert "\nblockyard swarm --seeds 1 --first 8\n" in result.output
    assert "a planted bug" in result.output
    assert "0 of 2 worlds kept every rule" in result.output


def broken(self: Engine) -> None:
    raise AssertionError("a planted bug")


def test_the_command_counts_what_became_of_the_requests() -> None:
    result = CliRunner().invoke(command, ["--seeds", "2", "--calm"])
    assert result.exit_code == 0, result.output
    assert "2 of 2 worlds kept every rule" in result.output
