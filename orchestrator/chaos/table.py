"""The terminal's summary: one row for each scenario, all seeds of it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from orchestrator.chaos.record import Json

WIDTHS: Mapping[str, int] = {  # of each column on a terminal
    "asked": 5,
    "answered / refused / left": 10,
    "lost / dup / alt": 6,
    "no answer / broken": 8,
    "leaks": 5,
    "not compared": 8,
    "recovery / silence s": 10,
    "TTFT p99 s before / during / after": 14,
    "verdict": 16,
}
COLUMNS = tuple(WIDTHS)
PHASES = ("before", "during", "after")
KINDS = ("lost", "duplicated", "altered")


def table(results: Sequence[Json]) -> Table:
    """Of summaries, in their order."""
    drawn = Table(title="what clients heard", title_justify="left", box=SIMPLE_HEAD, padding=0)
    drawn.add_column("scenario", no_wrap=True)
    for name, width in WIDTHS.items():
        is_figure = name != "verdict"
        drawn.add_column(name, justify="right" if is_figure else "left", width=width)
    for scenario, runs in by_scenario(results).items():
        drawn.add_row(scenario, *cells(runs))
    return drawn


def by_scenario(results: Sequence[Json]) -> dict[str, list[Json]]:
    grouped: dict[str, list[Json]] = {}
    for result in results:
        grouped.setdefault(result["scenario"], []).append(result)
    return grouped


def cells(runs: Sequence[Json]) -> list[str]:
    """One scenario's figures, the worst of its seeds where they are not sums."""
    played = [run for run in runs if "skipped" not in run]
    if not played:
        return [*[""] * (len(COLUMNS) - 1), f"skipped: {runs[0]['skipped']}"]
    return [
        str(sum(run["requests"] for run in played)),
        "/".join(str(ended(played, end)) for end in ("answered", "refused", "left")),
        "/".join(str(sum(run["wrong_streams"].get(k, 0) for run in played)) for k in KINDS),
        "/".join(str(ended(played, end)) for end in ("unanswered", "broken")),
        str(sum(len(run["leaks"]) for run in played)),
        str(sum(run["not_compared"] for run in played)),
        felt(played),
        "/".join(hundredths(worst_ttft_p99(played, phase)) for phase in PHASES),
        verdict(played, skipped=len(runs) - len(played)),
    ]


def ended(runs: Sequence[Json], end: str) -> int:
    return sum(run["ends"].get(end, 0) for run in runs)


def worst(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def worst_ttft_p99(runs: Sequence[Json], phase: str) -> float | None:
    """Of interactive requests."""
    groups: list[dict[str, Any]] = [
        group
        for run in runs
        for group in run["phases"]
        if group["phase"] == phase and group["request_class"] == "interactive"
    ]
    return worst([group["ttft_s"].get("p99") for group in groups])


def felt(runs: Sequence[Json]) -> str:
    """How long faults were felt; nothing where none struck."""
    if all(run["silence_s"] is None for run in runs):
        return ""
    if any(run["faults"] and run["recovery_s"] is None for run in runs):
        recovery = "not seen"
    else:
        recovery = hundredths(worst([run["recovery_s"] for run in runs]))
    return f"{recovery}/{hundredths(worst([run['silence_s'] for run in runs]))}"


def hundredths(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def verdict(runs: Sequence[Json], *, skipped: int) -> str:
    failed = sum(not run["passed"] for run in runs)
    missed = sum(not aim["met"] for run in runs for aim in run["aims"])
    words = [
        f"{failed} of {len(runs)} FAILED" if failed else "",
        f"{missed} aim{'s' * (missed > 1)} missed" if missed else "",
        "" if failed or missed else "passed",
        f"{skipped} skipped" if skipped else "",
    ]
    return ", ".join(filter(None, words))
