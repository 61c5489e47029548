"""The incident's symptoms appear out of the mechanism, and its cure removes them.

A shorter spike than the command's, for one fixed seed and two others. The
symptoms are asserted by the same rules that the command prints, and the
comparison is shown to depend on the mechanism: each planted fault is caught.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest

from orchestrator.sim.command import uncollected
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.incident.contiguous import ContiguousMemory, Run
from orchestrator.sim.incident.incident import (
    Case,
    Incident,
    agreement,
    simulated_incident,
    simulated_replay,
)
from orchestrator.sim.incident.models import MODELS, PoolConfig
from orchestrator.sim.incident.replay import Replay
from orchestrator.sim.incident.story import story, trade
from orchestrator.sim.incident.workload import Load, workload

SEEDS = (0, 1, 2)
QUICK = Load(steady_s=20.0, spike_s=30.0, after_s=3.0)
TINY = Load(steady_s=6.0, spike_s=4.0, after_s=1.0)
CONTIGUOUS = ("contiguous", "contiguous+prefix")


@cache
def quick(seed: int) -> Incident:
    with uncollected():
        return simulated_incident(seed, Case(QUICK))


def tiny(model: str, seed: int, check_every_steps: int) -> Replay:
    case = Case(TINY, PoolConfig(check_every_steps=check_every_steps))
    return simulated_replay(model, seed=seed, case=case, costs=CostModel())


@pytest.mark.parametrize("seed", SEEDS)
def test_all_symptoms_appear_and_the_cure_removes_them(seed: int) -> None:
    absent = [f"{f.name}: {f.evidence}" for f in quick(seed).findings if not f.appears]
    assert absent == []


@pytest.mark.parametrize("seed", SEEDS)
def test_paged_memory_never_fails_and_contiguous_memory_fails_with_enough_free(seed: int) -> None:
    figures = quick(seed).figures
    assert figures["paged"].failures == figures["paged+sharing"].failures == ()
    split = [f for f in figures["contiguous+prefix"].failures if f.kind == "B"]
    assert split
    for failure in split:
        assert failure.largest_hole < failure.asked
    assert sum(f.enough_was_free for f in split) > len(split) / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_every_request_is_answered_or_has_failed(seed: int) -> None:
    result = quick(seed)
    numbers = sorted(arrival.number for arrival in workload(QUICK, seed))
    for one in result.replays:
        answered = [answer.arrival.number for answer in one.answers]
        failed = [arrival.number for arrival, _ in one.failures]
        assert sorted(answered + failed) == numbers, one.model


@pytest.mark.parametrize("seed", SEEDS)
def test_every_request_of_every_phase_is_accounted_for(seed: int) -> None:
    for one in quick(seed).figures.values():
        for phase in (one.before, one.spike, one.after):
            assert phase.requests == phase.admitted + phase.agent_failures + phase.chat_failures


def test_all_memory_models_give_the_same_answers() -> None:
    same = agreement(quick(0).replays)
    assert same.answers > 1000
    assert same.different == ()


def test_paged_memory_wastes_less_than_a_block_for_each_sequence() -> None:
    for model in ("paged", "paged+sharing"):
        assert quick(0).figures[model].spike.internal_fragmentation < 0.03
        assert quick(0).figures[model].spike.external_fragmentation == 0
    assert quick(0).figures["contiguous+prefix"].spike.internal_fragmentation > 0.1


def test_the_text_says_of_each_symptom_whether_it_is_there() -> None:
    text = story(quick(0))
    for finding in quick(0).findings:
        assert f"[yes] {finding.name}" in text
    calm = story(simulated_incident(0, Case(replace(TINY, chat_spike=1.0))))
    assert "[NO ] agents fail to allocate" in calm
    assert "no agent failed" in calm


def test_one_seed_makes_one_record_whatever_python_hashes_strings_to() -> None:
    code = (
        "import json, sys; from dataclasses import replace\n"
        "from orchestrator.sim.incident.incident import Case, simulated_incident\n"
        "from orchestrator.sim.incident.record import record\n"
        "from orchestrator.sim.incident.story import story\n"
        "from orchestrator.sim.incident.workload import Load, Sizes\n"
        f"result = simulated_incident(3, Case({TINY!r}))\n"
        "print(json.dumps(record(result))); print(story(result))\n"
        "assert not {'ray', 'torch', 'redis', 'grpc'} & sys.modules.keys()\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


# ---- planted faults


@pytest.mark.parametrize("model", CONTIGUOUS)
def test_a_run_that_is_not_given_back_is_caught(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = ContiguousMemory.release

    def leak(memory: ContiguousMemory, run: Run) -> None:
        if run.start % 7:
            released(memory, run)

    monkeypatch.setattr(ContiguousMemory, "release", leak)
    with pytest.raises(AssertionError, match="a run without its sequence"):
        tiny(model, 0, check_every_steps=1000)


def forget_to_take(memory: ContiguousMemory, index: int, run: Run) -> Run:
    memory._runs.add(run)
    return run


@pytest.mark.parametrize("model", CONTIGUOUS)
def test_two_sequences_on_the_same_slots_are_caught(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ContiguousMemory,
        "_take",
        forget_to_take,
    )
    with pytest.raises(AssertionError):
        tiny(model, 0, check_every_steps=1)


@pytest.mark.parametrize("model", MODELS)
def test_each_model_gives_all_its_memory_back(model: str) -> None:
    ended = tiny(model, 1, check_every_steps=50)
    assert len(ended.answers) + len(ended.failures) == len(workload(TINY, 1))


def test_the_text_does_not_say_that_fewer_are_let_in_where_more_are() -> None:
    spike = quick(0).figures["contiguous+prefix"].spike
    few, many = replace(spike, sequences=8.0), replace(spike, sequences=9.0)
    assert "It lets fewer in" in trade(many, few, 600)
    assert "does not let fewer" in trade(few, many, 600)
