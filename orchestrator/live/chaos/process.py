"""One member of the cluster: a process that may end in any way and start again as itself.

Its ports and its name outlive it, and so does its log: what it says goes to
files, which nobody must read for it to go on. It ends with the launcher that
forked it (launcher.py), in a session that the terminal's Ctrl-C does not
reach; whoever starts it stops it in order.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from orchestrator.live.chaos.forks import DidNotStart, Forks

START_S_MAX = 120.0  # a loaded machine takes its time
STOP_S_MAX = 60.0
POLL_S = 0.02
LOG_CHARACTERS_MAX = 2000  # of it, in an error


@dataclass(slots=True)
class Process:
    """`words` are what the `blockyard` command is given; each life is a process with a pid."""

    name: str
    words: tuple[str, ...]
    folder: Path  # for its log
    forks: Forks
    lives: int = 0
    born_s: float = 0.0  # this life, by the monotonic clock
    skew_s: float = 0.0  # of its wall clock, in this life
    _process: psutil.Process | None = None
    _out: Path = field(init=False)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and is_running(self._process)

    @property
    def pid(self) -> int:
        """Of the last life."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def log(self) -> Path:
        """Of all lives."""
        return self.folder / f"{self.name}.log"

    @property
    def address(self) -> str:
        """Where it says that it listens; empty before."""
        line = self._out.read_text() if self._out.exists() else ""
        return line.strip() if line.endswith("\n") else ""

    def launch(self, *, skew_s: float = 0.0) -> None:
        """Begin a life; `address` tells when it listens."""
        assert not self.is_alive, f"{self.name} is running"
        self.lives += 1
        self.born_s = time.monotonic()
        self.skew_s = skew_s
        self._out = self.folder / f"{self.name}.{self.lives}.out"
        self._process = self.forks.fork(self.words, out=self._out, log=self.log, skew_s=skew_s)

    def ensure_launched(self, *, skew_s: float = 0.0) -> None:
        """Nothing where somebody else was faster."""
        if not self.is_alive:
            self.launch(skew_s=skew_s)

    def is_listening(self) -> bool:
        """Raises DidNotStart when it never will."""
        if self.address:
            return True
        if not self.is_alive:
            raise DidNotStart(f"{self.name} did not start; its log ends:\n{self._last_words()}")
        return False

    def wait_until_listening(self) -> None:
        """Raises DidNotStart when that takes too long."""
        deadline = time.monotonic() + START_S_MAX
        while not self.is_listening():
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.name} has said nothing for {START_S_MAX:.0f} s")
            time.sleep(POLL_S)

    def signal(self, number: signal.Signals) -> None:
        """Nothing when it has ended."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                self._process.send_signal(number)

    def kill(self) -> None:
        """As the kernel does it; returns when it is gone."""
        self.signal(signal.SIGKILL)
        while self.is_alive:
            time.sleep(POLL_S)

    def ask_to_stop(self) -> None:
        """In order; wakes it where it is stopped."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def wait_until_ended(self) -> None:
        """Of one that hangs the kernel makes an end."""
        deadline = time.monotonic() + STOP_S_MAX
        while self.is_alive:
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_CHARACTERS_MAX:]


def is_running(process: psutil.Process) -> bool:
    """One that has ended and was not waited for is a zombie, and runs no more."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
