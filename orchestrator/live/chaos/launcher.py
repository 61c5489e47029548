"""Start one member of a chaos cluster: `python -m orchestrator.live.chaos.launcher PARENT SKEW …`.

What follows are the words that `blockyard` would be given. Before they run:

- On Linux the kernel is asked for SIGKILL when the starting thread is gone, so
  nothing is left over however a run ends.
- The wall clock is set wrong by SKEW seconds: `time.time` and `time.time_ns`
  for all Python of this process, the program's and its libraries'. That covers
  everything that this program takes from the wall clock (epochs, terms, the
  dates of answers); it does not cover `datetime`, native code, or the
  monotonic clock, which no change of the date can move.
- A replica dies of poison (mortal.py).

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
from importlib import import_module

import click

from orchestrator.live.own_session import PR_SET_PDEATHSIG

# Loaded late, as the command itself does: only a replica needs torch.
COMMANDS = {
    "replica": "orchestrator.live.chaos.mortal:replica",
    "gateway": "orchestrator.live.commands.processes:gateway",
    "control-plane": "orchestrator.live.commands.processes:control_plane",
}
NS_PER_S = 1_000_000_000


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
    module, attribute = COMMANDS[command].split(":")
    called: click.Command = getattr(import_module(module), attribute)
    called.main(words, prog_name=f"blockyard {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
