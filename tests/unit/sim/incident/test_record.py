"""The record is complete, and says itself what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache

from orchestrator.sim.incident.figures import FailureFigures, ModelFigures, PhaseFigures
from orchestrator.sim.incident.incident import Case, Incident, agreement, simulated_incident
from orchestrator.sim.incident.record import MEANING, record
from orchestrator.sim.incident.workload import Load

# Known from what they stand in, or from every other place.
PLAIN = {"model", "before", "spike", "after", "request", "kind"}


@cache
def result() -> Incident:
    return simulated_incident(0, Case(Load(steady_s=4.0, spike_s=3.0, after_s=1.0)))


def test_every_figure_is_explained() -> None:
    named = {f.name for kind in (ModelFigures, PhaseFigures, FailureFigures) for f in fields(kind)}
    assert named - PLAIN - MEANING.keys() == set()


def test_it_holds_all_four_models_in_every_phase_and_can_be_written() -> None:
    made = json.loads(json.dumps(record(result())))
    assert set(made["models"]) == {"contiguous", "contiguous+prefix", "paged", "paged+sharing"}
    for model in made["models"].values():
        for phase in ("before", "spike", "after"):
            assert {"p50", "p99"} <= model[phase]["ttft_s"].keys()
            assert "p50" in model[phase]["tpot_s"]
            assert model[phase]["admitted"] <= model[phase]["requests"]


def test_answers_agree_and_one_other_token_is_noticed() -> None:
    replays = result().replays
    same = agreement(replays)
    assert same.answers == sum(len(one.answers) for one in replays[:-1])
    assert same.different == ()
    first, *rest = replays
    answers = list(altered(first.answers[0].said))
    wrong = replace(first, answers=[replace(first.answers[0], said=tuple(answers))])
    number = first.answers[0].arrival.number
    assert agreement([wrong, *rest]).different == (
        f"contiguous {first.answers[0].arrival.tag}{number}",
    )


def altered(said: tuple[int, ...]) -> Iterator[int]:
    """The same but for one token."""
    yield said[0] + 1
    yield from said[1:]
