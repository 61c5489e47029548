"""A run for a person: one line for each kind of work and each phase, then what was not answered."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from orchestrator.load.report import Part, Report
from orchestrator.workload.quantiles import Figures

PIPED_WIDTH = 140
_COLUMNS = (
    "requests",
    "answered",
    "refused",
    "broken",
    "no answer",
    "TTFT ms\np50 / p90 / p99",
    "TPOT ms\np50 / p99",
    "ITL ms\np50 / p99",
    "E2E s\np50 / p99",
    "good",
)


def show(summary: Report) -> None:
    """On stdout; piped somewhere it keeps its columns."""
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    console.print(_table(summary))
    for line in lines(summary):
        console.print(line, markup=False, soft_wrap=True)


def _table(summary: Report) -> Table:
    table = Table()
    table.add_column("")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    parts = {**(summary.by_tag if len(summary.by_tag) > 1 else {}), **summary.by_phase}
    for name, part in parts.items():
        table.add_row(name, *_cells(part))
    table.add_section()
    table.add_row("all", *_cells(summary.overall))
    return table


def _cells(part: Part) -> Iterator[str]:
    yield str(part.requests)
    yield str(part.answered)
    for codes in (part.refused, part.broken, part.unanswered):
        yield str(sum(codes.values()))
    yield _figures(part.ttft_s, 1000, ("p50", "p90", "p99"))
    yield _figures(part.tpot_s, 1000, ("p50", "p99"))
    yield _figures(part.itl_s, 1000, ("p50", "p99"))
    yield _figures(part.e2e_s, 1, ("p50", "p99"))
    yield f"{part.good_share:.1%}"


def _figures(figures: Figures, factor: float, names: tuple[str, ...]) -> str:
    if not figures:
        return "-"
    return " / ".join(_number(figures[name] * factor) for name in names)


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
