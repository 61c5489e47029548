"""What of a preempted sequence lies in host memory: one run of its blocks, up to a token."""

from __future__ import annotations

from dataclasses import dataclass

from replicas.engine.plan import HostSlot


@dataclass(frozen=True, slots=True)
class Stored:
    """The KV of the tokens at `start` to `stop - 1`; `start` is where a block begins.

    One block after the other, a slot each; the last one may be partly filled.
    """

    start: int = 0
    stop: int = 0
    slots: tuple[HostSlot, ...] = ()

    def reach(self, tokens: int) -> int:
        """Behind so many leading tokens that are in place: how many are, once it is loaded.

        Where the run begins further on, there is a gap, and it is of no use.
        """
        return max(tokens, self.stop) if self.start <= tokens else tokens


NOTHING_STORED = Stored()
