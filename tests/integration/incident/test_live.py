"""`incident --live` for two seconds of load: four memory models give a real model's answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from orchestrator.live.incident.play import live_incident, measured_chats_per_s
from orchestrator.live.incident.scale import REFERENCE, REFERENCE_CHATS_PER_S, case_for
from orchestrator.sim.incident.command import command
from orchestrator.sim.incident.contiguous_engine import ContiguousEngine
from orchestrator.sim.incident.incident import Incident, agreement
from orchestrator.sim.incident.models import MODELS
from orchestrator.sim.incident.record import record
from orchestrator.sim.incident.story import story
from replicas.bench.start import load_for_bench
from replicas.engine.plan import BlockCopy
from replicas.engine.sequence import Sequence

SHORT = replace(
    REFERENCE,
    load=replace(REFERENCE.load, chat_spike=3.0, steady_s=0.7, spike_s=1.0, after_s=0.2),
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def short_incident() -> Incident:
    return live_incident(0, SHORT, load_for_bench("tiny", dtype="float32"), "here")


def test_every_memory_model_computes_the_same_answers_on_the_real_runner() -> None:
    result = short_incident()
    assert [one.model for one in result.replays] == list(MODELS)
    same = agreement(result.replays)
    assert same.answers >= 30
    assert same.different == ()
    for one in result.figures.values():
        for phase in (one.before, one.spike, one.after):
            assert phase.requests == phase.admitted + phase.agent_failures + phase.chat_failures
    # Lengths are the load's, tokens the model's: not the made-up ones, and not all the same.
    said = {token for answer in result.replays[0].answers for token in answer.said[:-1]}
    assert len(said) > 20
    assert record(result)["where"] == "here"
    assert "the same answers: 0 of" in story(result)


def test_a_prefix_that_is_not_copied_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(engine: ContiguousEngine, sequence: Sequence) -> Iterator[BlockCopy]:
        return iter(())

    monkeypatch.setattr(ContiguousEngine, "_copies", forget)
    different = agreement(short_incident().replays).different
    assert different
    assert {each.split()[0] for each in different} == {"contiguous+prefix"}


def test_a_machine_half_as_fast_gets_half_the_load() -> None:
    slow = case_for(REFERENCE_CHATS_PER_S / 2)
    assert slow.load.chat_rate == REFERENCE.load.chat_rate / 2
    assert slow.load.end_s == REFERENCE.load.end_s * 2
    assert slow.pool.patience_ns == REFERENCE.pool.patience_ns * 2
    assert slow.objectives.ttft_s == REFERENCE.objectives.ttft_s * 2
    assert slow.load.sizes == REFERENCE.load.sizes
    assert case_for(REFERENCE_CHATS_PER_S) == REFERENCE


def test_how_fast_this_machine_is_can_be_measured() -> None:
    assert measured_chats_per_s(load_for_bench("tiny", dtype="float32")) > 0


def test_a_model_that_is_not_there_ends_with_a_sentence() -> None:
    result = CliRunner().invoke(command, ["--live", "--model", "nowhere"])
    assert result.exit_code == 1
    assert "There is no model at 'nowhere'" in result.output
