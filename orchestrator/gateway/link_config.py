"""The patience and the bounds of a gateway's link to one replica."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkConfig:
    silence_s_max: float = 5.0  # a peer this silent is hung
    retry_s_first: float = 0.1
    retry_s_max: float = 2.0
    choices_max: int = 4096
    inbox_deltas_max: int = 8192

    @property
    def outbox_messages_max(self) -> int:
        """A submission and a cancellation of every choice."""
        return 2 * self.choices_max
