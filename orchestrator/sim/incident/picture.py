"""Draws the incident for a post-mortem: memory, TTFT, TPOT and failures, a column per model.

Needs matplotlib, which is optional. Time runs from left to right in every
panel; dashed lines bound the spike.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.sim.incident.incident import Incident
from orchestrator.sim.incident.memory import FREE, SHARED
from orchestrator.sim.incident.replay import Replay
from orchestrator.sim.incident.workload import AGENT, AGENT_KIND, CHAT, CHAT_KIND, Load
from orchestrator.sim.loop import NS_PER_S

# What fills a cell of the map, and its colour.
COLOURS = {FREE: "#ffffff", CHAT_KIND: "#7fb3d5", AGENT_KIND: "#e59866", SHARED: "#1e8449"}
NAMES = {FREE: "free", CHAT_KIND: "chat", AGENT_KIND: "agent", SHARED: "shared prefix"}
TAGS = {CHAT: COLOURS[CHAT_KIND], AGENT: COLOURS[AGENT_KIND]}


def draw_incident(result: Incident, path: Path) -> None:
    """Write the picture. `require_matplotlib` first."""
    figure = import_module("matplotlib.figure").Figure(figsize=(17, 11), layout="constrained")
    grid = figure.subplots(
        4, len(result.replays), sharex=True, sharey="row", height_ratios=(3, 2, 2, 2)
    )
    for column, replay in enumerate(result.replays):
        panels = [grid[row][column] for row in range(4)]
        draw_memory(panels[0], replay)
        draw_answers(panels[1], panels[2], replay)
        draw_failures(panels[3], replay)
        for panel in panels:
            shade(panel, result.case.load)
        panels[0].set_title(replay.model)
        panels[3].set_xlabel("time (s)")
    for row, label in enumerate(
        ("memory by address (tokens)", "TTFT (s)", "TPOT (ms)", "failed: asked, free, largest hole")
    ):
        grid[row][0].set_ylabel(label)
    legend(figure)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_memory(panel: Any, replay: Replay) -> None:
    """The memory map over time."""
    kinds = list(COLOURS)
    columns = [[kinds.index(kind) for kind in look.memory.cells] for look in replay.looks]
    edges = [look.now_ns / NS_PER_S for look in replay.looks] + [replay.ended_ns / NS_PER_S]
    cells = len(columns[0])
    slots = replay.looks[0].memory.slots_total / cells
    colours = import_module("matplotlib.colors").ListedColormap(list(COLOURS.values()))
    panel.pcolormesh(
        edges,
        [cell * slots for cell in range(cells + 1)],
        [[column[cell] for column in columns] for cell in range(cells)],
        cmap=colours,
        vmin=-0.5,
        vmax=len(kinds) - 0.5,
        rasterized=True,
    )


def draw_answers(ttft: Any, tpot: Any, replay: Replay) -> None:
    """A dot for each answer, at its arrival."""
    for tag, colour in TAGS.items():
        own = [answer for answer in replay.answers if answer.arrival.tag == tag]
        at_s = [answer.arrival.arrival_ns / NS_PER_S for answer in own]
        ttft.scatter(at_s, [answer.ttft_s for answer in own], s=3, color=colour)
        tpot.scatter(at_s, [1000 * answer.tpot_s for answer in own], s=3, color=colour)
    ttft.set_yscale("log")


def draw_failures(panel: Any, replay: Replay) -> None:
    """What was asked, and what there was, at each failure of an agent."""
    failures = [failure for arrival, failure in replay.failures if arrival.tag == AGENT]
    at_s = [failure.now_ns / NS_PER_S for failure in failures]
    for values, marker, colour in (
        ([failure.slots_free for failure in failures], "o", "#229954"),
        ([failure.slots_asked for failure in failures], "x", "#c0392b"),
        ([failure.largest_hole for failure in failures], "_", "#34495e"),
    ):
        panel.scatter(at_s, values, s=22, marker=marker, color=colour)
    panel.text(0.02, 0.9, f"{len(failures)} agents failed", transform=panel.transAxes)


def shade(panel: Any, load: Load) -> None:
    """Mark the spike."""
    for at_s in (load.steady_s, load.spike_end_s):
        panel.axvline(at_s, color="#888888", linewidth=0.8, linestyle="--")


def legend(figure: Any) -> None:
    """One for all panels."""
    patches = import_module("matplotlib.patches")
    lines = import_module("matplotlib.lines")
    handles = [
        patches.Patch(facecolor=COLOURS[kind], edgecolor="#888888", label=name)
        for kind, name in NAMES.items()
    ]
    for marker, colour, label in (
        ("o", "#229954", "free at a failure"),
        ("x", "#c0392b", "asked"),
        ("_", "#34495e", "largest hole"),
    ):
        handles.append(lines.Line2D([], [], marker=marker, color=colour, linestyle="", label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
