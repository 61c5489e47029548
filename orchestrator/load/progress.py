"""How a run is going, on stderr: a bar on a terminal, a line now and then into a pipe."""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.load.ask import Clock
from orchestrator.workload.heard import End, Heard
from orchestrator.workload.quantiles import percentile

BAR_EVERY_S = 0.25
LINE_EVERY_S = 10.0
RECENT = 100  # answers of which the TTFT is shown


class Tally:
    """What was heard so far; `dues_s` says when each request is due, in order."""

    def __init__(self, dues_s: Sequence[float]) -> None:
        self._dues_s = dues_s
        self.heard: list[Heard] = []
        self._ends: Counter[End] = Counter()

    def add(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._ends[heard.end] += 1

    def sent(self, now_s: float) -> int:
        """How many were due by now."""
        return bisect_right(self._dues_s, now_s)

    def under_way(self, now_s: float) -> int:
        return max(0, self.sent(now_s) - len(self.heard))

    def words(self, now_s: float) -> str:
        """The state in a few words."""
        recent = sorted(one.ttft_s for one in self.heard[-RECENT:] if one.ttft_s is not None)
        ttft = f", TTFT p50 {percentile(recent, 50) * 1000:.0f} ms" if recent else ""
        failed = self._ends[End.BROKEN] + self._ends[End.UNANSWERED]
        return (
            f"{self.under_way(now_s)} under way, {self._ends[End.REFUSED]} refused,"
            f" {failed} failed{ttft}"
        )


@asynccontextmanager
async def shown(tally: Tally, total: int, clock: Clock) -> AsyncIterator[None]:
    """While it lasts, `tally` is shown."""
    show = _bar if sys.stderr.isatty() else _lines
    task = asyncio.create_task(show(tally, total, clock))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _bar(tally: Tally, total: int, clock: Clock) -> None:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as progress:
        bar = progress.add_task("", total=total)

        def draw() -> None:
            words = tally.words(clock())
            progress.update(bar, completed=len(tally.heard), description=words, refresh=True)

        try:
            while True:
                await asyncio.sleep(BAR_EVERY_S)
                draw()
        finally:
            draw()


async def _lines(tally: Tally, total: int, clock: Clock) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        now_s = clock()
        click.echo(
            f"[{now_s:6.1f}s] {tally.sent(now_s)} of {total} sent, {len(tally.heard)} heard,"
            f" {tally.words(now_s)}",
            err=True,
        )
