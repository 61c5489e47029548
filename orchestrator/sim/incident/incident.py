"""The whole incident: one workload, four memory models, one record of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.incident.figures import ModelFigures, Objectives, model_figures
from orchestrator.sim.incident.machine import SimulatedMachine
from orchestrator.sim.incident.models import MODELS, PoolConfig
from orchestrator.sim.incident.replay import Replay, replay
from orchestrator.sim.incident.symptoms import Finding, findings
from orchestrator.sim.incident.workload import Asking, Load, MadeUp, workload

Each = Callable[[Callable[[str], Replay], Iterable[str]], Iterable[Replay]]  # as `map`


@dataclass(frozen=True, slots=True)
class Case:
    """What is replayed: the demand, one replica's memory, and what counts as good."""

    load: Load = field(default_factory=Load)
    pool: PoolConfig = field(default_factory=PoolConfig)
    objectives: Objectives = field(default_factory=Objectives)


@dataclass(frozen=True, slots=True)
class Incident:
    """What was run, and what came of it."""

    seed: int
    case: Case
    where: str  # what computed it, and by which clock
    replays: tuple[Replay, ...]
    figures: dict[str, ModelFigures]  # by model
    findings: tuple[Finding, ...]


def simulated_incident(
    seed: int, case: Case, cost_model: CostModel | None = None, *, each: Each = map
) -> Incident:
    """Replay the incident in virtual time, through one memory model after another or,
    by an `each` that maps in several processes, through all at once."""
    run = partial(simulated_replay, seed=seed, case=case, costs=cost_model or CostModel())
    return folded(seed, case, "virtual time, costs of an 8B model on one H100", each(run, MODELS))


def simulated_replay(model: str, *, seed: int, case: Case, costs: CostModel) -> Replay:
    """One memory model."""
    sizes = case.load.sizes
    asking = Asking(sizes, MadeUp(sizes))
    return replay(model, workload(case.load, seed), case.pool, asking, SimulatedMachine(costs))


def folded(seed: int, case: Case, where: str, replays: Iterable[Replay]) -> Incident:
    """The incident that these replays are, one for each memory model."""
    arrivals = workload(case.load, seed)
    done = tuple(replays)
    figures = {r.model: model_figures(r, arrivals, case.load, case.objectives) for r in done}
    return Incident(seed, case, where, done, figures, findings(figures))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether every memory model gave the same answers, token for token."""

    answers: int  # compared: those that the first model and another one have both given
    tokens: int
    different: tuple[str, ...]  # model and request


def agreement(replays: Sequence[Replay]) -> Agreement:
    """Compare every answer with that of the last model, which answers all."""
    *others, last = replays
    expected = {answer.arrival.number: answer.said for answer in last.answers}
    compared = [
        (one.model, answer, expected[answer.arrival.number])
        for one in others
        for answer in one.answers
        if answer.arrival.number in expected
    ]
    return Agreement(
        answers=len(compared),
        tokens=sum(len(said) for _, _, said in compared),
        different=tuple(
            f"{model} {answer.arrival.tag}{answer.arrival.number}"
            for model, answer, said in compared
            if answer.said != said
        ),
    )
