"""Draws a run: what was asked and answered over time, and how latencies are distributed.

Needs matplotlib, which is optional.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.load.spikes import Spike
from orchestrator.workload.drawing import make_logarithmic
from orchestrator.workload.heard import End, Heard

POINTS_MAX = 2000  # of a curve; gaps between tokens come in millions
FAILED = frozenset({End.REFUSED, End.BROKEN, End.UNANSWERED})


def plot(heard: Sequence[Heard], spikes: Sequence[Spike], path: Path) -> None:
    """Write the picture. `require_matplotlib` first."""
    figure = import_module("matplotlib.figure").Figure(figsize=(12, 7), layout="constrained")
    (requests, ttft), (gaps, shares) = figure.subplots(2, 2)
    _requests_over_time(requests, heard)
    _over_time(ttft, heard)
    _distribution(gaps, "ITL (s)", _by_tag(heard), lambda one: one.gaps_s)
    _distribution(
        shares, "TTFT (s)", _by_tag(heard), lambda one: () if one.ttft_s is None else (one.ttft_s,)
    )
    for axes in (requests, ttft):
        for spike in spikes:
            axes.axvspan(spike.at_s, spike.ends_s, color="tab:red", alpha=0.1, lw=0)
    figure.savefig(path, dpi=120)


def _by_tag(heard: Iterable[Heard]) -> dict[str, list[Heard]]:
    groups: dict[str, list[Heard]] = {}
    for one in heard:
        groups.setdefault(one.tag or "requests", []).append(one)
    return groups


def _requests_over_time(axes: Any, heard: Sequence[Heard]) -> None:
    """Requests a second: due, answered, and neither."""
    lines = {
        "due": Counter(int(one.due_s) for one in heard),
        "answered": Counter(int(one.ended_s) for one in heard if one.end is End.ANSWERED),
        "refused or failed": Counter(int(one.ended_s) for one in heard if one.end in FAILED),
    }
    seconds = range(1 + max((int(one.ended_s) for one in heard), default=0))
    edges = [*seconds, len(seconds)]
    for name, counts in lines.items():
        # What was due is a surface: where all of it was answered, the line is its edge.
        is_due = name == "due"
        values = [counts[second] for second in seconds]
        axes.stairs(values, edges, fill=is_due, alpha=0.3 if is_due else 1.0, label=name)
    axes.set(xlabel="time (s)", ylabel="requests/s")
    axes.legend()


def _over_time(axes: Any, heard: Sequence[Heard]) -> None:
    """A dot for each TTFT; a cross at the bottom for each request that has none."""
    for tag, group in _by_tag(heard).items():
        told = [one for one in group if one.ttft_s is not None]
        axes.scatter([one.due_s for one in told], [one.ttft_s for one in told], s=5, label=tag)
    failed = [one.due_s for one in heard if one.end in FAILED]
    if failed:
        floor = min((one.ttft_s for one in heard if one.ttft_s is not None), default=1.0)
        axes.scatter(failed, [floor] * len(failed), marker="x", c="k", label="refused, failed")
    axes.set(xlabel="due (s)", ylabel="TTFT (s)")
    make_logarithmic(axes.yaxis)
    axes.legend()


def _distribution(
    axes: Any,
    label: str,
    groups: dict[str, list[Heard]],
    values_of: Callable[[Heard], Sequence[float]],
) -> None:
    """Which share of all values is at most each one."""
    for tag, group in groups.items():
        ordered = sorted(value for one in group for value in values_of(one))
        places = range(0, len(ordered), 1 + len(ordered) // POINTS_MAX)
        shares = [(place + 1) / len(ordered) for place in places]
        axes.plot([ordered[place] for place in places], shares, label=tag)
    axes.set(xlabel=label, ylabel="share", ylim=(0, 1))
    make_logarithmic(axes.xaxis)
    axes.legend()
