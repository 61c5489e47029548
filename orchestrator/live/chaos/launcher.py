"""Start one member of a chaos cluster: `python -m orchestrator.live.chaos.launcher PARENT SKEW …`.

What follows are the words that `blockyard` would be given. Before they run:

- On Linux the kernel is asked for SIGKILL when the starting thread is gone, so
  nothing is left over however a run ends.
- The wall clock is set wrong by SKEW seconds: `time.time` and `time.time_ns`
  for all Python of this process, the program's and its libraries'. That covers
  everything that this program takes from the wall clock (epochs, terms, the
  dates of answers); it does not cover `datetime`, native code, or the
  monotonic clock, which no change of the date can move.
- A replica dies of poison: its process ends at the step that computes POISON.

The program itself knows nothing of this: what is patched here, before it
starts, is the machine that it believes to run on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from orchestrator.live.chaos.poison import is_poisoned
from orchestrator.live.commands import processes
from orchestrator.live.own_session import PR_SET_PDEATHSIG
from replicas.engine.plan import StepOutcome, StepPlan
from replicas.model.runner import TorchRunner
from replicas.serving import build

COMMANDS = {
    "replica": processes.replica,
    "gateway": processes.gateway,
    "control-plane": processes.control_plane,
}
NS_PER_S = 1_000_000_000


class MortalRunner(TorchRunner):
    """Takes its process with it when it computes poison."""

    def run(self, plan: StepPlan) -> StepOutcome:
        if any(is_poisoned(row.tokens) for row in plan.rows):
            die()
        return super().run(plan)


def die() -> NoReturn:
    """As of a fault in native code: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL returns to nobody")


def end_with(parent: int) -> None:
    """Do not outlive it; where only polling could tell, trust whoever stops us."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that wanted this one is gone")


def skew_wall_clock(skew_ns: int) -> None:
    """Before anything else has asked for the time."""
    true_time_ns: Callable[[], int] = time.time_ns
    time.time_ns = lambda: true_time_ns() + skew_ns
    time.time = lambda: (true_time_ns() + skew_ns) / NS_PER_S


def main(arguments: Sequence[str]) -> None:
    parent, skew_s, command, *words = arguments
    end_with(int(parent))
    if skew_ns := int(float(skew_s) * NS_PER_S):
        skew_wall_clock(skew_ns)
    build.TorchRunner = MortalRunner  # type: ignore[attr-defined]
    called: click.Command = COMMANDS[command]
    called.main(words, prog_name=f"blockyard {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
