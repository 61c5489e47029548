"""The whole incident: one workload, four memory models, one record of it all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.incident.figures import ModelFigures, model_figures
from orchestrator.sim.incident.models import MODELS, PoolConfig
from orchestrator.sim.incident.replay import Replay, replay
from orchestrator.sim.incident.symptoms import Finding, findings
from orchestrator.sim.incident.workload import Load, workload
from orchestrator.sim.loop import NS_PER_S


@dataclass(frozen=True, slots=True)
class Incident:
    """What was run, and what came of it."""

    seed: int
    load: Load
    pool: PoolConfig
    replays: tuple[Replay, ...]
    figures: dict[str, ModelFigures]  # by model
    findings: tuple[Finding, ...]


def incident(
    seed: int, load: Load, pool: PoolConfig, cost_model: CostModel | None = None
) -> Incident:
    """Replay the incident through every memory model."""
    arrivals = workload(load, seed)
    costs = cost_model or CostModel()
    replays = tuple(replay(model, arrivals, pool, costs) for model in MODELS)
    figures = {r.model: model_figures(r, arrivals, load) for r in replays}
    return Incident(seed, load, pool, replays, figures, findings(figures))


def record(result: Incident) -> dict[str, object]:
    """All of it, for JSON."""
    return {
        "seed": result.seed,
        "load": asdict(result.load),
        "pool": asdict(result.pool),
        "models": {model: asdict(figures) for model, figures in result.figures.items()},
        "findings": [asdict(finding) for finding in result.findings],
        "memory": {replay.model: list(memory_rows(replay)) for replay in result.replays},
    }


def memory_rows(replay: Replay) -> Iterator[dict[str, object]]:
    """The looks at one model's memory, in order."""
    for look in replay.looks:
        yield {
            "at_s": look.now_ns / NS_PER_S,
            "free": look.memory.slots_free,
            "written": look.memory.slots_written,
            "largest_hole": look.memory.largest_hole,
            "cells": look.memory.cells,
        }
