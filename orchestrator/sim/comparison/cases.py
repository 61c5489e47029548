"""What is compared: workloads at a load and a size that tell policies apart, and who decides.

Traces are somebody else's files. A case whose trace is not at hand is left out
and named; without any traces there are workloads that are made from a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.sim.policies import OURS, POLICIES

SYNTHETIC = "synthetic:"


@dataclass(frozen=True, slots=True)
class Case:
    """One workload on one cluster."""

    workload: str  # a trace's name, or a synthetic one
    speed: float
    blocks: int  # of each replica
    replicas: int = 8
    gateways: int = 1
    stale_s: float = 0.0

    @property
    def title(self) -> str:
        cluster = f"{self.replicas} replicas of {self.blocks:,} blocks"
        if self.gateways > 1 or self.stale_s:
            cluster += f", {self.gateways} gateways, reports {self.stale_s:g} s old"
        return f"{self.workload}, {self.speed:g} times as fast, {cluster}"

    def source(self, traces: Path | None) -> str:
        """Where the workload is: what `--trace` takes."""
        if self.workload.startswith(SYNTHETIC):
            return self.workload
        assert traces is not None, "a trace is in a folder"
        return str(traces / f"{self.workload}.jsonl.xz")


@dataclass(frozen=True, slots=True)
class Contender:
    """Who decides, under which name in the table."""

    name: str
    policy: str
    copying: bool = True


# Blocks are the trace's own: 512 tokens, 16 and 64.
ON_TRACES = (
    Case("mooncake_conv_w0", 2, 4000),
    Case("mooncake_conv_w0", 2, 1000),
    Case("mooncake_conv_w0", 2, 4000, gateways=4, stale_s=10),
    Case("incident_mix_w0", 6, 4000),
    Case("incident_mix_w0", 8, 4000),
    Case("claude_code_s0", 1, 16000),
)
SYNTHETIC_CASES = (
    Case(f"{SYNTHETIC}mix", 4, 4000),
    Case(f"{SYNTHETIC}spike", 1, 4000),
)
CONTENDERS = (
    Contender(OURS, OURS),
    Contender(f"{OURS}, no copies", OURS, copying=False),
    *(Contender(name, name) for name in POLICIES if name != OURS),
)


def cases_in(traces: Path | None) -> tuple[Sequence[Case], Sequence[str]]:
    """What can be compared, and the traces that are not there."""
    if traces is None:
        return SYNTHETIC_CASES, ()
    missing = {c.workload for c in ON_TRACES if not Path(c.source(traces)).exists()}
    return [case for case in ON_TRACES if case.workload not in missing], sorted(missing)
