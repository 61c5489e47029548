"""How a run of chaos shows on a terminal: a bar on stderr, then a table and what failed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.chaos.again import Again
from orchestrator.chaos.gathering import Gathering
from orchestrator.chaos.run import Run, Skipped
from orchestrator.chaos.table import table

PIPED_WIDTH = 118
SENTENCES_MAX = 5  # of one run that failed
RUNS_MAX = 20  # that failed, named one by one


class Bar:
    """How many runs are over, and what the world tells of the one that is on."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self._failed = 0

    def tell(self, line: str) -> None:
        self._progress.console.print(escape(line), highlight=False)

    def over(self, one: Run | Skipped) -> None:
        is_failed = isinstance(one, Run) and not one.verdict.is_passed
        self._failed += is_failed
        text = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, description=text)


@contextmanager
def bar(total: int) -> Iterator[Bar]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TextColumn("{task.description}"), console=console) as progress:
        yield Bar(progress, total)


def show_table(gathering: Gathering) -> None:
    """On stdout; one that is piped somewhere keeps its columns."""
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(table(gathering.results))


def show_failures(gathering: Gathering, again: Again) -> None:
    """What broke, and the line that shows it again."""
    for run in gathering.failures[:RUNS_MAX]:
        verdict = run.verdict
        sentences = [*verdict.breaches, *(f"missed: {aim}" for aim in verdict.missed)]
        click.echo(again.line(run.scenario.name, run.seed))
        for sentence in sentences[:SENTENCES_MAX]:
            click.echo(f"  {sentence}")
        if len(sentences) > SENTENCES_MAX:
            click.echo(f"  and {len(sentences) - SENTENCES_MAX} more")
    for run in [run for run in gathering.shown if run not in gathering.failures][:RUNS_MAX]:
        for aim in run.verdict.missed[:SENTENCES_MAX]:
            click.echo(f"{run.scenario.name}, seed {run.seed}: an aim was missed: {aim}")


def show_sum(gathering: Gathering, wall_s: float) -> None:
    totals = gathering.totals
    events = totals["steps"] + totals["messages"]  # which only a simulated world counts
    counted = f", {events} events" if events else ""
    skipped = f", {len(gathering.skipped)} skipped" if gathering.skipped else ""
    click.echo(
        f"{gathering.played} runs{skipped}, {totals['requests']} requests, {totals['moves']} moves,"
        f" {totals['resumptions']} resumptions, {totals['takeovers']} takeovers{counted}"
        f" in {wall_s:.0f} s"
    )


def show_kept(paths: list[Path]) -> None:
    for path in paths:
        click.echo(f"kept {path}")
