"""All that a simulated run was told, as its report names it.

Who reads a report alone can repeat the run: nothing here depends on the
machine or the time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """The workload and the cluster; who decides and the seed are the report's own."""

    trace: str
    speed: float
    requests_max: int | None  # the first so many of the workload; None: all
    spread: bool
    replicas: int
    gateways: int
    blocks: int  # of each replica
    block_size: int
    stale_ms: float
    copies: bool
    copy_gbps: float
    cost_model: str

    def words(self, seed: int) -> str:
        """For a person, in two lines."""
        copies = f"copies at {self.copy_gbps:g} Gbit/s" if self.copies else "no copies"
        spread = ", arrivals spread" if self.spread else ""
        first = "" if self.requests_max is None else f", its first {self.requests_max} requests"
        return (
            f"  {self.trace}, speed {self.speed:g}{first}{spread}, seed {seed},"
            f" cost model {self.cost_model}\n"
            f"  replicas {self.replicas}, gateways {self.gateways}, blocks {self.blocks}"
            f" of {self.block_size} tokens, reports {self.stale_ms:g} ms old, {copies}"
        )
