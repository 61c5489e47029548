"""The line that plays a run again."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from orchestrator.chaos.worlds import Where


@dataclass(frozen=True, slots=True)
class Again:
    """`paths`: scenarios that come from files, by their names."""

    where: Where
    duration: float | None
    paths: dict[str, str]

    def line(self, scenario: str, seed: int, *, seeds: int = 1) -> str:
        words = ["blockyard chaos run", quote(self.paths.get(scenario, scenario))]
        words += [self.where.words(), f"--seed {seed}"]
        if seeds > 1:
            words.append(f"--seeds {seeds}")
        if self.duration is not None:
            words.append(f"--duration {self.duration:g}")
        return " ".join(words)
