"""A session of its own for a command that starts many processes.

Such a command runs in a child that leads a session, while the process that
the user started only passes signals on and waits. So a signal to the whole
process group (Ctrl-C in a terminal, `timeout`, a service manager) reaches the
command once, and none of the servers that it needs for an orderly stop. If
the waiting process is killed outright, the kernel tells the child, which
stops everything as if it had been asked to.

Must run before anything starts a thread: it forks.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1


def enter_own_session() -> None:
    """Returns in the child. The parent never returns: it exits as the child did."""
    parent = os.getpid()
    child = os.fork()
    if child:
        wait_for_child(child)
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the process that was started is gone")


def wait_for_child(child: int) -> None:
    """Pass SIGINT and SIGTERM on until the child has ended; then end the same way."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)
