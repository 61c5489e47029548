"""How the commands talk to a terminal: progress lines, signals, tables."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click
from rich.console import Console
from rich.table import Table

from orchestrator.live.operator_client import CallRefused

STARTED = time.monotonic()
PIPED_WIDTH = 120


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


@contextmanager
def refusals_shown() -> Iterator[None]:
    """What a control plane refuses, or that there is none, ends the command with a sentence."""
    try:
        yield
    except LookupError as error:
        raise click.ClickException(str(error.args[0])) from error
    except (CallRefused, ValueError, ConnectionError) as error:
        raise click.ClickException(str(error)) from error


def show_json(record: dict[str, object]) -> None:
    """One document on stdout, for programs."""
    click.echo(json.dumps(record, indent=2))


def table(title: str, left: Sequence[str], right: Sequence[str] = ()) -> Table:
    """A table with columns of words, then of numbers."""
    made = Table(title=title)
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def show_table(made: Table) -> None:
    """On stdout; one that is piped somewhere keeps its columns."""
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(made)
