"""Runs as JSON: what anybody needs who reads, compares or replays them.

Nothing in it depends on the day or the machine, so the same seeds in the
simulator give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from orchestrator.chaos.demand import demand
from orchestrator.chaos.faults import TimedFault
from orchestrator.chaos.run import Run, Skipped
from orchestrator.chaos.strict import kind_of
from orchestrator.workload.heard import Heard

Json = dict[str, Any]
DIGITS = 6  # of a second


def summary(run: Run) -> Json:
    """One run without its requests, in plain values."""
    observed, verdict = run.observed, run.verdict
    figures: Json = {
        "scenario": run.scenario.name,
        "seed": run.seed,
        "passed": verdict.is_passed,
        "breaches": list(verdict.breaches),
        "aims": [
            {"met": aim.is_met, "hard": aim.is_hard, "aim": aim.sentence} for aim in verdict.aims
        ],
        "requests": len(observed.heard),
        "ends": _by_name(verdict.ends),
        "wrong_streams": _by_name(verdict.wrong),
        "leaks": list(observed.leaks),
        "recovery_s": verdict.recovery_s,
        "silence_s": verdict.silence_s,
        "not_compared": verdict.not_compared,
        "faults": [
            {
                **_fault(one.struck.fault),
                "began_s": one.struck.began_s,
                "ended_s": one.struck.ended_s,
                "recovery_s": one.seconds,
                "silence_s": one.silence_s,
            }
            for one in verdict.recoveries
        ],
        "phases": [asdict(group) for group in verdict.groups],
        "totals": dict(observed.totals),
        "seconds": observed.seconds,
    }
    plain_figures: Json = plain(figures)
    return plain_figures


def row(heard: Heard) -> Json:
    """One request, without what it said."""
    return {name: value for name, value in asdict(heard).items() if name not in ("said", "gaps_s")}


def full(run: Run) -> Json:
    """All that is known of one run: enough to see what happened, and to do it again."""
    return {
        **summary(run),
        "played": asdict(run.scenario) | {"faults": [_fault(one) for one in run.scenario.faults]},
        "due": [asdict(due) for due in demand(run.scenario, run.seed)],
        "heard": [asdict(one) for one in run.observed.heard],
        "expected": {str(number): said for number, said in run.observed.expected.items()},
    }


def skipped(one: Skipped) -> Json:
    return {"scenario": one.scenario.name, "seed": one.seed, "skipped": one.why}


def write(path: Path, record: Json) -> None:
    """Readable, in a stable order, and without the noise of binary fractions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(record), indent=1) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """As JSON can say it."""
    match value:
        case float():
            return round(value, DIGITS)
        case Enum():
            return value.value
        case bytes():
            return value.hex()
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return value


def _fault(timed: TimedFault) -> Json:
    return {"kind": kind_of(timed.fault), "at_s": timed.at_s, **asdict(timed.fault)}


def _by_name(counts: Mapping[Any, int]) -> Json:
    return dict(sorted((kind.value, count) for kind, count in counts.items()))


def record(runs: Sequence[Json]) -> Json:
    """The whole file."""
    played = [run for run in runs if "skipped" not in run]
    return {
        "runs": len(played),
        "passed": sum(run["passed"] for run in played),
        "skipped": len(runs) - len(played),
        "requests": sum(run["requests"] for run in played),
        "results": list(runs),
    }
