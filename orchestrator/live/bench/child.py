"""A process of ours that is measured: started, asked for its CPU time, ended."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

import psutil

STOP_S_MAX = 10.0


class ChildFailed(Exception):
    """It ended before it had said where it listens."""


class Child:
    """`python -m MODULE ...`, from its first line on. A context manager."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def first_line(self) -> str:
        """What it says once it listens. Raises ChildFailed."""
        assert self._process is not None and self._process.stdout is not None, "it was started"
        line = self._process.stdout.readline()
        if not line:
            raise ChildFailed(f"{' '.join(self._words[:2])} ended with {self._process.wait()}")
        return line.strip()

    def cpu_s(self) -> float:
        """Of all its threads so far, in steps of some milliseconds."""
        assert self._process is not None, "it was started"
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        assert process is not None, "it was started"
        process.terminate()
        try:
            process.communicate(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
