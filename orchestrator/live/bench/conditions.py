"""What a figure of a benchmark must be read with.

CPU times hold within some tenth on a busy machine, times on the wall do not:
how busy it was is part of what was measured.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from replicas.bench.machine import cpu_name


def load_average() -> float:
    """Processes that ran or wanted to, over the last minute."""
    return round(os.getloadavg()[0], 2)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of one run."""

    cpu: str
    cpus: int
    python: str
    versions: dict[str, str]
    server: str  # the registry's, by its own words
    load_before: float = field(default_factory=load_average)
    load_after: float | None = None  # None: the run has not ended

    @classmethod
    def here(cls, packages: Sequence[str], *, server: str) -> Conditions:
        return cls(
            cpu=cpu_name(),
            cpus=os.cpu_count() or 1,
            python=platform.python_version(),
            versions={name: version(name) for name in packages},
            server=server,
        )

    def sentence(self) -> str:
        """For people."""
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        after = "" if self.load_after is None else f" to {self.load_after}"
        return (
            f"on {self.cpu}, {self.cpus} CPUs, load {self.load_before}{after}; "
            f"Python {self.python}, {packages}, {self.server}"
        )
