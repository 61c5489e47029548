"""Draws a dashboard of ours from the answers to its own queries, where no Grafana is.

Each panel stands where the JSON puts it, with its title, unit, legend and the
colours of its overrides. What Grafana has beside them (axes that follow the
mouse, links, thresholds of a stat) is left out; so are text panels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import cycle
from math import isnan
from pathlib import Path
from typing import Any

from tests.benchmarks.dashboard.prometheus import Curve

Answers = Mapping[int, Sequence[tuple[str, Curve]]]  # by panel: what its legend says, and a curve
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
CANVAS, INK, GRID = "#f4f5f5", "#24292e", "#e4e7eb"
LEGEND_MAX, LEGEND_COLUMNS = 8, 12
INCHES_WIDE, INCHES_A_ROW = 13.0, 0.235


def legend(template: str, labels: Mapping[str, str]) -> str:
    """What Grafana writes for a series."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


def draw(
    board: Mapping[str, Any],
    answers: Answers,
    path: Path,
    *,
    caption: str,
    began_s: float,
    ended_s: float,
    marked: tuple[float, float],
) -> None:
    """Write the picture; the span `marked` is shaded. Seconds count from `began_s`."""
    panels = [panel for panel in board["panels"] if panel["type"] in DRAWN]
    top = min(panel["gridPos"]["y"] for panel in panels)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) - top
    figure = import_module("matplotlib.figure").Figure(
        figsize=(INCHES_WIDE, 0.9 + rows * INCHES_A_ROW), facecolor=CANVAS
    )
    head = 0.85 / (0.9 + rows * INCHES_A_ROW)
    figure.text(0.012, 1 - head * 0.34, board["title"], fontsize=13, color=INK, va="center")
    figure.text(0.012, 1 - head * 0.72, caption, fontsize=8, color="#57606a", va="center")
    for panel in panels:
        axes = figure.add_axes(_place(panel["gridPos"], top, rows, 1 - head))
        axes.set_title(panel["title"], fontsize=9, color=INK, loc="left")
        axes.axvspan(*(at - began_s for at in marked), color="#d0d7de", alpha=0.5, lw=0, zorder=0)
        axes.tick_params(labelsize=7, colors=INK, length=2)
        for side in axes.spines.values():
            side.set_color(GRID)
        DRAWN[panel["type"]](axes, panel, _from(answers.get(panel["id"], ()), began_s))
        axes.set_xlim(0, ended_s - began_s)
    figure.savefig(path, dpi=100, metadata={"Software": None}, facecolor=CANVAS)


def _place(
    place: Mapping[str, int], top: int, rows: int, height: float
) -> tuple[float, float, float, float]:
    """Of the axes in the figure, with room for ticks on the left and a legend below."""
    row = height / rows
    left = place["x"] / 24 + 0.035
    bottom = height - (place["y"] - top + place["h"]) * row + 1.75 * row
    return left, bottom, place["w"] / 24 - 0.047, (place["h"] - 2.9) * row


def _from(told: Sequence[tuple[str, Curve]], began_s: float) -> list[tuple[str, Curve]]:
    """Named in order, with times from the beginning; without what never had a value."""
    moved = [
        (name, Curve(curve.labels, tuple((at - began_s, value) for at, value in curve.points)))
        for name, curve in told
        if not all(isnan(value) for _, value in curve.points)
    ]
    return sorted(moved, key=lambda one: one[0])


def _lines(axes: Any, panel: Mapping[str, Any], told: Sequence[tuple[str, Curve]]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    is_stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    floor: dict[float, float] = {}
    styles = {name: _overridden(panel, name) for name, _ in told}
    taken = {style["color"]["fixedColor"] for style in styles.values() if "color" in style}
    colours = cycle(colour for colour in PALETTE if colour not in taken)
    for name, curve in told:
        style = styles[name]
        colour = style.get("color", {}).get("fixedColor") or next(colours)
        dashes = "--" if "custom.lineStyle" in style else "-"
        times = [at for at, _ in curve.points]
        values = [value for _, value in curve.points]
        if is_stacked and "custom.stacking" not in style:
            below = [floor.get(at, 0.0) for at in times]
            values = [b if isnan(v) else v + b for v, b in zip(values, below, strict=True)]
            floor |= dict(zip(times, values, strict=True))
            axes.fill_between(times, below, values, color=colour, alpha=0.6, lw=0, label=name)
        else:
            axes.plot(times, values, color=colour, lw=1.2, ls=dashes, label=name)
    highest = max((v for _, curve in told for _, v in curve.points if not isnan(v)), default=0)
    top = None if highest > 0 else 1
    axes.set_ylim(bottom=0, top=defaults["max"] * 1.03 if "max" in defaults else top)
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(UNITS.get(defaults["unit"], _number))
    axes.yaxis.set_major_locator(import_module("matplotlib.ticker").MaxNLocator(4))
    if told:
        axes.legend(
            *(part[:LEGEND_MAX] for part in axes.get_legend_handles_labels()),
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.13),
            ncols=LEGEND_COLUMNS * panel["gridPos"]["w"] // 24,
            fontsize=6.5,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.0,
            labelspacing=0.2,
        )


def _strips(axes: Any, panel: Mapping[str, Any], told: Sequence[tuple[str, Curve]]) -> None:
    """One row for each series, coloured by what its value is mapped to."""
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    colours = {int(value): word["color"] for value, word in mapping["options"].items()}
    for row, (_, curve) in enumerate(reversed(told)):
        for value, colour in colours.items():
            spans = [(at, 1.02) for at, found in curve.points if int(found) == value]
            axes.broken_barh(spans, (row + 0.12, 0.76), color=colour, lw=0, alpha=0.9)
    # The names stand inside, so that the axes of all panels begin alike.
    axes.set_yticks([])
    for row, (name, _) in enumerate(reversed(told)):
        axes.text(1, row + 0.5, name, fontsize=7.5, va="center", color=INK)
    axes.set_ylim(0, max(1, len(told)))


def _overridden(panel: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the panel's overrides say of the series of that name."""
    found: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        kind, wanted = override["matcher"]["id"], override["matcher"]["options"]
        if name == wanted or (kind == "byRegexp" and re.search(wanted.strip("/"), name)):
            found |= {one["id"]: one["value"] for one in override["properties"]}
    return found


def _seconds(value: float, _: object) -> str:
    return f"{value:g} s" if value >= 1 or value == 0 else f"{value * 1000:g} ms"


def _percent(value: float, _: object) -> str:
    return f"{value:.0%}"


def _each_second(value: float, _: object) -> str:
    return f"{value:g}/s"


def _number(value: float, _: object) -> str:
    return f"{value:g}"


UNITS: Mapping[str, Callable[[float, object], str]] = {
    "s": _seconds,
    "percentunit": _percent,
    "reqps": _each_second,
    "ops": _each_second,
}
DRAWN: Mapping[str, Callable[[Any, Mapping[str, Any], Sequence[tuple[str, Curve]]], None]] = {
    "timeseries": _lines,
    "state-timeline": _strips,
}
