"""How the commands talk to a terminal: progress lines, signals, tables."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

STARTED = time.monotonic()


def progress(message: str) -> None:
    """One line on stderr, with the seconds since the command began."""
    click.echo(f"[{time.monotonic() - STARTED:6.1f}s] {message}", err=True)


@contextmanager
def stop_signals_raise() -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt once; further ones cannot cut the clean-up."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
