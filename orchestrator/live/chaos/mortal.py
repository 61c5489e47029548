"""`blockyard replica` with an engine that dies of poison, for chaos clusters only.

Its process ends at the step that is to compute poison (poison.py), as it would
of a fault in native code. Every other step is the real runner's.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from orchestrator.live.chaos.poison import is_poisoned
from orchestrator.live.commands.replica import replica
from replicas.engine.plan import StepOutcome, StepPlan
from replicas.model.runner import TorchRunner
from replicas.serving import build

__all__ = ["replica"]


class MortalRunner(TorchRunner):
    """Takes its process with it when it computes poison."""

    def run(self, plan: StepPlan) -> StepOutcome:
        if any(is_poisoned(row.tokens) for row in plan.rows):
            die()
        return super().run(plan)


def die() -> NoReturn:
    """No handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL returns to nobody")


build.TorchRunner = MortalRunner  # type: ignore[attr-defined]
