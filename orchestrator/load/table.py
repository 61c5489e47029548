"""A run for a person: a column for each kind of work and each phase, then what has no column."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.table import Table

from orchestrator.load.report import PERCENTS, Part, Report
from orchestrator.workload.quantiles import Figures

PIPED_WIDTH = 120
_LATENCIES: tuple[tuple[str, float, Callable[[Part], Figures]], ...] = (
    ("TTFT ms", 1000, lambda part: part.ttft_s),
    ("TPOT ms", 1000, lambda part: part.tpot_s),
    ("ITL ms", 1000, lambda part: part.itl_s),
    ("E2E s", 1, lambda part: part.e2e_s),
)
_COUNTS: tuple[tuple[str, Callable[[Part], int]], ...] = (
    ("requests", lambda part: part.requests),
    ("answered", lambda part: part.answered),
    ("refused", lambda part: sum(part.refused.values())),
    ("broken", lambda part: sum(part.broken.values())),
    ("not answered", lambda part: sum(part.unanswered.values())),
)


def show(summary: Report) -> None:
    """On stdout; piped somewhere it keeps its columns."""
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    console.print(_table(summary))
    for line in lines(summary):
        console.print(line, markup=False, soft_wrap=True)


def _table(summary: Report) -> Table:
    parts = {
        "all": summary.overall,
        **(summary.by_tag if len(summary.by_tag) > 1 else {}),
        **summary.by_phase,
    }
    table = Table()
    table.add_column("")
    for name in parts:
        table.add_column(name, justify="right")
    for name, count in _COUNTS:
        table.add_row(name, *(str(count(part)) for part in parts.values()))
    table.add_row("good", *(f"{part.good_share:.1%}" for part in parts.values()))
    for name, factor, figures in _LATENCIES:
        table.add_section()
        for percent in PERCENTS:
            cells = (_figure(figures(part), f"p{percent}", factor) for part in parts.values())
            table.add_row(f"{name} p{percent}", *cells)
    return table


def _figure(figures: Figures, name: str, factor: float) -> str:
    return _number(figures[name] * factor) if figures else "-"


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def lines(summary: Report) -> Iterator[str]:
    """Everything that is no table."""
    overall, late_s = summary.overall, summary.sender.late_s
    for name, codes in (
        ("refused", overall.refused),
        ("broken", overall.broken),
        ("not answered", overall.unanswered),
    ):
        if codes:
            yield f"{name}: {_counts(codes)}"
    if overall.left:
        yield f"clients that left: {overall.left}"
    if overall.reconnections:
        yield f"reconnections: {overall.reconnections}"
    if summary.under_way:
        yield f"under way when the run was interrupted, and counted nowhere: {summary.under_way}"
    hits = "none told" if overall.hit_ratio is None else f"{overall.hit_ratio:.1%}"
    yield (
        f"goodput {summary.goodput_per_s:.2f} requests/s ({overall.good_share:.1%}),"
        f" {summary.tokens_per_s:.0f} tokens/s; prompts {overall.prompt_tokens} tokens, hit {hits}"
    )
    if late_s:
        yield (
            f"sender: late p50 {late_s['p50'] * 1000:.1f} ms, p99 {late_s['p99'] * 1000:.1f} ms;"
            f" busy {summary.sender.busy:.0%} of a core"
        )
    for warning in summary.sender.warnings:
        yield f"warning: {warning}"


def _counts(codes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in codes.items())
