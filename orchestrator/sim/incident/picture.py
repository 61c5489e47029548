"""Draws the incident for a post-mortem: memory, TTFT, TPOT and failures, a column per model.

Needs matplotlib, which is optional. Time runs from left to right in every
panel and ends with the last arrival; a row has one scale; the spike is shaded.
Above each column stands what to remember of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.sim.incident.figures import ModelFigures, PhaseFigures
from orchestrator.sim.incident.incident import Incident
from orchestrator.sim.incident.memory import FREE, SHARED
from orchestrator.sim.incident.replay import Answer, Replay
from orchestrator.sim.incident.symptoms import seconds
from orchestrator.sim.incident.workload import AGENT, AGENT_KIND, CHAT, CHAT_KIND, Load
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.quantiles import percentile

# What fills a cell of the map, and its colour.
COLOURS = {FREE: "#f3f1ec", CHAT_KIND: "#6fa8cf", AGENT_KIND: "#e39a55", SHARED: "#1d7a4f"}
NAMES = {FREE: "free", CHAT_KIND: "chat", AGENT_KIND: "agent", SHARED: "shared prefix"}
TAGS = {CHAT: COLOURS[CHAT_KIND], AGENT: COLOURS[AGENT_KIND]}
INK, SHADE, FREE_LINE, ASKED, HOLE = "#333333", "#ece4f0", "#8d8d86", "#c0392b", "#2c3e50"
TITLES = {
    "contiguous": "1  contiguous, no reuse",
    "contiguous+prefix": "2  contiguous, pinned prefix",
    "paged": "3  paged, no sharing",
    "paged+sharing": "4  paged, shared blocks",
}
BINS = 30  # of the lines through the dots
ROWS = ("memory by address\n(thousand tokens)", "TTFT (s)", "TPOT (ms)", "free memory (%)")
TPOT_SHOWN = 99  # the scale ends a little above this percentile: outliers are not the story


def draw_incident(result: Incident, path: Path) -> None:
    """Write the picture. `require_matplotlib` first."""
    figure = import_module("matplotlib.figure").Figure(figsize=(16, 10), layout="constrained")
    grid = figure.subplots(
        len(ROWS), len(result.replays), sharex=True, sharey="row", height_ratios=(3, 2, 1.6, 2)
    )
    for column, replay in enumerate(result.replays):
        panels = [grid[row][column] for row in range(len(ROWS))]
        for panel in panels:
            dress(panel, result.case.load)
        draw_memory(panels[0], replay)
        for at_s in (result.case.load.steady_s, result.case.load.spike_end_s):
            panels[0].axvline(at_s, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        draw_answers(panels[1], replay, [(a.arrival.tag, a, a.ttft_s) for a in replay.answers])
        tpots = [(a.arrival.tag, a, 1000 * a.tpot_s) for a in replay.answers]
        draw_answers(panels[2], replay, tpots)
        draw_failures(panels[3], replay)
        caption(panels, result.figures[replay.model])
        panels[-1].set_xlabel("time (s)", color=INK)
    for row, label in enumerate(ROWS):
        grid[row][0].set_ylabel(label, color=INK)
    scale(grid, result)
    legend(figure)
    figure.suptitle(heading(result), fontsize=13, color=INK)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def heading(result: Incident) -> str:
    """What all columns have in common."""
    load = result.case.load
    return (
        f"The same requests through four memory models: chat {load.chat_spike:g} times as fast"
        f" from {load.steady_s:.3g} s to {load.spike_end_s:.3g} s, seed {result.seed}"
        f" ({result.where.split(',')[0]})"
    )


def dress(panel: Any, load: Load) -> None:
    """Shade the spike, and take away what is no data."""
    panel.axvspan(load.steady_s, load.spike_end_s, color=SHADE, linewidth=0, zorder=0)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        panel.spines[side].set_color("#aaaaaa")
    panel.tick_params(colors=INK, labelsize=9)
    panel.set_xlim(0, load.end_s)


def draw_memory(panel: Any, replay: Replay) -> None:
    """The memory map over time."""
    kinds = list(COLOURS)
    columns = [[kinds.index(kind) for kind in look.memory.cells] for look in replay.looks]
    edges = [look.now_ns / NS_PER_S for look in replay.looks] + [replay.ended_ns / NS_PER_S]
    cells = len(columns[0])
    thousands = replay.looks[0].memory.slots_total / cells / 1000
    panel.pcolormesh(
        edges,
        [cell * thousands for cell in range(cells + 1)],
        [[column[cell] for column in columns] for cell in range(cells)],
        cmap=import_module("matplotlib.colors").ListedColormap(list(COLOURS.values())),
        vmin=-0.5,
        vmax=len(kinds) - 0.5,
        rasterized=True,
    )


def draw_answers(panel: Any, replay: Replay, values: Sequence[tuple[str, Answer, float]]) -> None:
    """A dot for each answer at its arrival, and a line through the medians."""
    for tag, colour in TAGS.items():
        own = [(answer.arrival.arrival_ns / NS_PER_S, v) for t, answer, v in values if t == tag]
        panel.scatter(*zip(*own, strict=True), s=5, color=colour, alpha=0.55, linewidths=0)
    width_ns = max(answer.arrival.arrival_ns for answer in replay.answers) // BINS + 1
    bins: dict[int, list[float]] = {}
    for _, answer, value in values:
        bins.setdefault(answer.arrival.arrival_ns // width_ns, []).append(value)
    at_s = [(place + 0.5) * width_ns / NS_PER_S for place in sorted(bins)]
    medians = [percentile(sorted(bins[place]), 50) for place in sorted(bins)]
    panel.plot(at_s, medians, color=INK, linewidth=1.6)


def draw_failures(panel: Any, replay: Replay) -> None:
    """Free memory over time; and at each failure of an agent what it asked and what there was."""
    total = replay.looks[0].memory.slots_total
    at_s = [look.now_ns / NS_PER_S for look in replay.looks]
    panel.plot(at_s, [100 * look.memory.free for look in replay.looks], color=FREE_LINE, lw=1)
    failures = [failure for arrival, failure in replay.failures if arrival.tag == AGENT]
    for failure in failures:
        ends = (100 * failure.largest_hole / total, 100 * failure.slots_free / total)
        panel.plot([failure.now_ns / NS_PER_S] * 2, ends, color=HOLE, linewidth=0.7, alpha=0.5)
    failed_s = [failure.now_ns / NS_PER_S for failure in failures]
    for slots, marker, colour in (
        ([failure.slots_free for failure in failures], "o", FREE_LINE),
        ([failure.slots_asked for failure in failures], "x", ASKED),
        ([failure.largest_hole for failure in failures], "_", HOLE),
    ):
        shares = [100 * each / total for each in slots]
        panel.scatter(failed_s, shares, s=26, marker=marker, color=colour, zorder=3)


def caption(panels: Sequence[Any], model: ModelFigures) -> None:
    """The column's name, and its key numbers where they belong."""
    spike = model.spike
    failed = f"{spike.agent_failures} of {spike.agents} agents fail"
    panels[0].set_title(
        f"{TITLES[model.model]}\n", fontsize=13, fontweight="bold", color=INK, loc="left"
    )
    panels[0].text(
        0,
        1.03,
        f"In the spike {failed}, TTFT p50 {median(spike, 'ttft_s')}",
        transform=panels[0].transAxes,
        fontsize=9.5,
        color=ASKED if spike.agent_failures else COLOURS[SHARED],
    )
    for panel, name in ((panels[1], "ttft_s"), (panels[2], "tpot_s")):
        note(panel, f"p50 {median(model.before, name)} before, {median(spike, name)} in the spike")
    free = model.free_share_at_agent_failures
    note(panels[3], f"median {free['p50']:.0%} free at a failure" if free else "no failure")


def median(phase: PhaseFigures, name: str) -> str:
    """Of TTFT or TPOT, for a reader."""
    figures = phase.ttft_s if name == "ttft_s" else phase.tpot_s
    return seconds(figures["p50"]) if figures else "-"


def note(panel: Any, text: str) -> None:
    """In the upper left corner, over the dots."""
    box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1.5}
    panel.text(
        0.02, 0.97, text, transform=panel.transAxes, va="top", fontsize=9, color=INK, bbox=box
    )


def scale(grid: Any, result: Incident) -> None:
    """One scale for each row."""
    grid[1][0].set_yscale("log")
    low, high = grid[1][0].get_ylim()
    grid[1][0].set_ylim(low, high * 3)  # room for the notes
    grid[1][0].yaxis.set_major_formatter("{x:g}")
    tpots = sorted(1000 * a.tpot_s for replay in result.replays for a in replay.answers)
    grid[2][0].set_ylim(0, 1.4 * percentile(tpots, TPOT_SHOWN))
    grid[3][0].set_yscale("log")
    grid[3][0].set_ylim(1, 200)
    grid[3][0].set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    grid[3][0].minorticks_off()
    good = result.case.objectives
    for row, value in ((1, good.ttft_s), (2, 1000 * good.tpot_s)):
        for panel in grid[row]:
            panel.axhline(value, color=ASKED, linewidth=0.8, linestyle=":")


def legend(figure: Any) -> None:
    """One for all panels."""
    patches, lines = import_module("matplotlib.patches"), import_module("matplotlib.lines")
    handles = [
        patches.Patch(facecolor=COLOURS[kind], edgecolor="#aaaaaa", label=name)
        for kind, name in NAMES.items()
    ]
    handles.append(patches.Patch(facecolor=SHADE, label="the spike (dashed: its bounds)"))
    for marker, line, colour, label in (
        ("", "-", INK, "median"),
        ("", ":", ASKED, "objective"),
        ("o", "", FREE_LINE, "free when an agent failed"),
        ("x", "", ASKED, "what it asked for"),
        ("_", "", HOLE, "the largest hole"),
    ):
        handles.append(
            lines.Line2D([], [], marker=marker, linestyle=line, color=colour, label=label)
        )
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9.5
    )
