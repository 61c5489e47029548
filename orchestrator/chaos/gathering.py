"""What is kept of many runs while they come in: a summary of each, few of them whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.chaos.again import Again
from orchestrator.chaos.page import page
from orchestrator.chaos.record import Json, full, record, row, skipped, summary, write
from orchestrator.chaos.run import Run, Skipped

WHOLE_MAX = 60  # runs with their requests, on a page and in a file; beyond that only failures
FAILURES_MAX = 60


@dataclass(slots=True)
class Gathering:
    """`has_aims`: whether a missed soft expectation is a failure as well."""

    has_aims: bool
    results: list[Json] = field(default_factory=list)
    shown: list[Run] = field(default_factory=list)
    failures: list[Run] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)

    @property
    def skipped(self) -> list[Json]:
        return [result for result in self.results if "skipped" in result]

    @property
    def played(self) -> int:
        """How many runs there were; what was skipped is none."""
        return len(self.results) - len(self.skipped)

    def add(self, one: Run | Skipped) -> None:
        match one:
            case Skipped():
                self.results.append(skipped(one))
            case Run():
                self._add(one)

    def is_failure(self, run: Run) -> bool:
        return not run.verdict.is_passed or (self.has_aims and bool(run.verdict.missed))

    def write_json(self, path: Path) -> None:
        write(path, record(self.results))

    def write_page(self, path: Path, command: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(self.results, self.shown, command), encoding="utf-8")

    def keep_failures(self, folder: Path, again: Again, beside: Json) -> list[Path]:
        """A file for each, with all that a replay needs, and `beside` it what else there is."""
        kept = []
        for run in self.failures:
            path = folder / f"chaos-{run.scenario.name}-{run.seed}.json"
            write(path, {**again.record(run.scenario.name, run.seed), **full(run), **beside})
            kept.append(path)
        return kept

    def _add(self, run: Run) -> None:
        result = summary(run)
        self.totals.update(run.observed.totals)
        self.totals["requests"] += len(run.observed.heard)
        is_failure = self.is_failure(run)
        if is_failure and len(self.failures) < FAILURES_MAX:
            self.failures.append(run)
        if len(self.shown) < WHOLE_MAX or run in self.failures[-1:]:
            result["heard"] = [row(one) for one in run.observed.heard]
            self.shown.append(run)
        self.results.append(result)
