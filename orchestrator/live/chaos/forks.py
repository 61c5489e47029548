"""Our end of the launcher: orders a process, gets its pid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

LAUNCHER = "orchestrator.live.chaos.launcher"


class DidNotStart(Exception):
    """A process ended or stayed silent instead of saying that it is there."""


class Forks:
    """A context manager around the launcher, which takes seconds to be there.

    It and all that it started end with the thread that enters it: that should
    be the main one.
    """

    def __init__(self) -> None:
        self._popen: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            (sys.executable, "-m", LAUNCHER, str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._popen is not None
        self._popen.communicate()  # the end of its orders is its end

    def fork(
        self, words: Sequence[str], *, out: Path, log: Path, skew_s: float = 0.0
    ) -> psutil.Process:
        """A process that runs the words; it has an identity, its pid alone has none."""
        assert self._popen is not None and self._popen.stdin is not None
        order = {"words": words, "out": str(out), "log": str(log), "skew_s": skew_s}
        self._popen.stdin.write(json.dumps(order) + "\n")
        self._popen.stdin.flush()
        return psutil.Process(int(self._answer()))

    def _answer(self) -> str:
        assert self._popen is not None and self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise DidNotStart("the launcher of processes has ended")
        return line
