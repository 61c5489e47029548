"""A comparison as Markdown, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from orchestrator.sim.comparison.cases import Case
from orchestrator.sim.comparison.runs import Row
from orchestrator.workload.drawing import make_logarithmic

COLUMNS = ("policy", "hit", "TTFT p50", "p90", "p99", "mean s", "refused", "imbalance")
FIGURES = ("p50", "p90", "p99", "mean")


def markdown(case: Case, rows: Sequence[Row]) -> str:
    """One table, under the name of its case and how many were asked."""
    heading = f"**{case.title}, {rows[0].requests:,.0f} requests**"
    return "\n".join((heading, "", *lines(rows)))


def lines(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{'---|' * len(COLUMNS)}"
    for row in rows:
        times = (f"{row.ttft_s[name]:.2f}" if row.ttft_s else "-" for name in FIGURES)
        cells = (
            row.contender.name,
            f"{row.hit_blocks_ratio:.1%}",
            *times,
            f"{row.refused:.0f}",
            f"{row.imbalance:.2f}",
        )
        yield f"| {' | '.join(cells)} |"


def draw(tables: Mapping[Case, Sequence[Row]], path: Path) -> None:
    """The mean and the 99th percentile of every row. `require_matplotlib` first."""
    figure_module = import_module("matplotlib.figure")
    size = (8, 1 + 3.2 * len(tables))
    figure = figure_module.Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(tables), 1, squeeze=False)
    for (axes,), (case, rows) in zip(grid, tables.items(), strict=True):
        answering = [row for row in reversed(rows) if row.ttft_s]
        names = [row.contender.name for row in answering]
        axes.barh(names, [row.ttft_s["p99"] for row in answering], color="#c6d5e8", label="p99")
        means = [row.ttft_s["mean"] for row in answering]
        axes.barh(names, means, color="#1f4e8c", height=0.4, label="mean")
        axes.set(xlabel="TTFT (s)", title=case.title)
        make_logarithmic(axes.xaxis)
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
