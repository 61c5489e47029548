"""Draws a run: TTFT over time, and how it is distributed. Needs matplotlib, which is optional."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from orchestrator.sim.client import Answered
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.report import ttfts
from orchestrator.sim.world import History
from orchestrator.workload.drawing import make_logarithmic


def plot(history: History, path: Path) -> None:
    """Write the picture. `require_matplotlib` first."""
    figure_module = import_module("matplotlib.figure")
    answered = [o for o in history.outcomes if isinstance(o, Answered)]
    figure = figure_module.Figure(figsize=(10, 4), layout="constrained")
    over_time, distribution = figure.subplots(1, 2)
    for replica_id in sorted({answer.replica_id for answer in answered}):
        own = [answer for answer in answered if answer.replica_id == replica_id]
        over_time.scatter(
            [answer.arrival_ns / NS_PER_S for answer in own],
            [(answer.first_ns - answer.arrival_ns) / NS_PER_S for answer in own],
            s=4,
        )
    title = f"{history.config.policy}, seed {history.config.seed}, a colour for each replica"
    over_time.set(xlabel="arrival (s)", ylabel="TTFT (s)", title=title)
    ordered = ttfts(answered)
    distribution.plot(ordered, shares(ordered))
    distribution.set(xlabel="TTFT (s)", ylabel="share of requests", ylim=(0, 1))
    make_logarithmic(distribution.xaxis)
    figure.savefig(path, dpi=120)


def shares(ordered: Sequence[float]) -> list[float]:
    """Which share of all values is at most each one."""
    return [(index + 1) / len(ordered) for index in range(len(ordered))]
