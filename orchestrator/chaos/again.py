"""The line that plays a run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from orchestrator.chaos.worlds import Where


@dataclass(frozen=True, slots=True)
class Again:
    """`paths`: scenarios that come from files, by their names."""

    where: Where
    duration: float | None
    paths: dict[str, str]

    def line(self, scenario: str, seed: int) -> str:
        """Of one run; a scenario that came from a file is named by the file."""
        return self.line_of_all([self.paths.get(scenario, scenario)], seed, seeds=1)

    def line_of_all(self, scenarios: Sequence[str], seed: int, *, seeds: int) -> str:
        """Of scenarios as they were asked for."""
        words = ["blockyard chaos run", *map(quote, scenarios)]
        words += [self.where.words(), f"--seed {seed}"]
        if seeds > 1:
            words.append(f"--seeds {seeds}")
        if self.duration is not None:
            words.append(f"--duration {self.duration:g}")
        return " ".join(words)

    def record(self, scenario: str, seed: int) -> dict[str, Any]:
        """The same for programs."""
        return {
            "replay": self.line(scenario, seed),
            "world": self.where.words(),
            "model": self.where.model,
            "duration_s": self.duration,
        }
