"""What a person at a terminal sees of a model on its way: a bar, or lines where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from replicas.delivery.progress import LineWatch, Progress, Watch

BAR_PERIOD_S = 0.2


class BarWatch:
    """Draws into a rich display that somebody else has opened."""

    period_s = BAR_PERIOD_S

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._bar = bars.add_task("looking for its files", total=None)

    def tell(self, progress: Progress) -> None:
        self._bars.update(
            self._bar,
            description="waiting for another process" if progress.waits else progress.model,
            total=progress.bytes_total or None,
            completed=progress.here,
        )


@contextmanager
def watched(say: Callable[[str], None]) -> Iterator[Watch]:
    """A bar on standard error where that is a terminal; else a line to `say` every few seconds."""
    if not sys.stderr.isatty():
        yield LineWatch(say)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, *speed, console=Console(stderr=True), transient=True) as bars:
        yield BarWatch(bars)
