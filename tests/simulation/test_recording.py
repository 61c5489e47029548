"""A simulated run is recorded like a live one, and replays to identical placements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from orchestrator.replay.command import command as replay_command
from orchestrator.replay.recording import Recording, read_recording
from orchestrator.replay.replay import replay
from orchestrator.sim.command import checkers
from orchestrator.sim.command import command as simulate_command
from orchestrator.sim.world import WorldConfig, simulate
from orchestrator.workload.synthetic import synthesize
from tests.unit.replay.test_recording import without_hits, without_queues

REQUESTS = 80


def test_placements_of_two_simulated_gateways_replay_to_the_same(tmp_path: Path) -> None:
    traffic = synthesize("mix", 0)
    traffic = replace(traffic, arrivals=traffic.arrivals[:REQUESTS]).faster(4.0)
    config = WorldConfig(replicas=3, gateways=2, blocks=1_000, block_size=traffic.block_size)
    recording = Recording(tmp_path / "recorded")
    plain = simulate(config, traffic, checkers())
    recorded = simulate(config, traffic, checkers(), recording=recording)
    recording.close()
    assert recorded.outcomes == plain.outcomes  # being recorded changes nothing
    decisions = list(read_recording(tmp_path / "recorded"))
    assert len(decisions) >= REQUESTS
    assert any(decision.hits for decision in decisions)
    assert replay(decisions).difference is None
    assert replay(decisions, without_hits).difference is not None
    assert replay(decisions, without_queues).difference is not None


def test_what_replay_could_not_decide_is_not_recorded(tmp_path: Path) -> None:
    words = ["--trace", "synthetic:mix", "--policy", "random", "--record", str(tmp_path / "r")]
    refused = CliRunner().invoke(simulate_command, words)
    assert refused.exit_code == 2
    assert "--record is for --policy" in refused.output
    assert not (tmp_path / "r").exists()
    assert CliRunner().invoke(replay_command, [str(tmp_path / "r")]).exit_code == 1
