"""The process that members of a chaos cluster are forked from, so that they start at once.

    python -m orchestrator.live.chaos.launcher PARENT

It loads everything that a member may need, which takes seconds, and then reads
orders, a line of JSON each, and answers each with the pid of a new process.
That one leads a session of its own, says what it says to the files that the
order names, and runs the words that `blockyard` would be given. Nothing has
run before the fork, no thread, loop or connection exists by then.

- On Linux the kernel is asked for SIGKILL when the starting thread is gone, so
  nothing is left over however a run ends. Here the forked die with this one.
- The wall clock of a member may be wrong: `time.time` and `time.time_ns`. That
  covers everything that this program takes from the wall clock (epochs, terms,
  the dates of answers); it does not cover `datetime`, native code, or the
  monotonic clock, which no change of the date can move.
- A replica dies of poison (mortal.py).

The program itself knows nothing of this: what is patched here, before it
starts, is the machine that it believes to run on.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from orchestrator.live.chaos import mortal
from orchestrator.live.commands import processes
from orchestrator.live.own_session import PR_SET_PDEATHSIG

COMMANDS: Mapping[str, click.Command] = {
    "replica": mortal.replica,
    "gateway": processes.gateway,
    "control-plane": processes.control_plane,
}
NS_PER_S = 1_000_000_000
READY = "ready"


def main(parent: int) -> None:
    """Until there are no more orders; in a forked process, what it was ordered to be."""
    end_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them; others watch by pid
    own_pid = os.getpid()
    print(READY, flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            become(own_pid, **json.loads(line))
        print(pid, flush=True)


def become(parent: int, *, words: Sequence[str], out: str, log: str, skew_s: float) -> None:
    """A member of the cluster. Does not return: it exits as the command does."""
    os.setsid()
    end_with(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for path, mode, number in ((os.devnull, "rb", 0), (out, "wb", 1), (log, "ab", 2)):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    if skew_ns := int(skew_s * NS_PER_S):
        skew_wall_clock(skew_ns)
    command, *rest = words
    COMMANDS[command].main(rest, prog_name=f"blockyard {command}")


def end_with(parent: int) -> None:
    """Do not outlive it; where only polling could tell, trust whoever stops us."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that wanted this one is gone")


def skew_wall_clock(skew_ns: int) -> None:
    """For all Python of this process from now on."""
    true_time_ns: Callable[[], int] = time.time_ns
    clock: Any = time
    clock.time_ns = lambda: true_time_ns() + skew_ns
    clock.time = lambda: (true_time_ns() + skew_ns) / NS_PER_S


if __name__ == "__main__":
    main(int(sys.argv[1]))
