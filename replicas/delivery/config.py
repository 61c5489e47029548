"""Where delivered models are kept, and how hard to try."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to ask again, of one piece that did not come, and how long to wait between."""

    tries: int = 8  # with the pauses below, a store may be away for about a minute
    first_ms: int = 500
    longest_ms: int = 15_000

    def pause_s(self, failures: int) -> float:
        """After so many failures in a row. Drawn, so that a fleet does not come back as one."""
        longest_ms = min(self.longest_ms, self.first_ms * 2 ** min(failures - 1, 16))
        return random.uniform(longest_ms / 2, longest_ms) / 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """`cache` None: in the user's cache. With `needs_sums` nothing unproven is loaded."""

    cache: Path | None = None
    needs_sums: bool = False
    patience: Patience = field(default_factory=Patience)
    # One request, and what a file that comes has in memory. 8 MiB: 80 ms of a stream at 100 MB/s,
    # which stores give at best, so that asking costs little beside it.
    chunk_bytes: int = 8 << 20
    files_at_once: int = 4

    @property
    def folder(self) -> Path:
        """Where all models are kept."""
        return self.cache if self.cache is not None else user_cache() / "models"


def user_cache() -> Path:
    """Where this user keeps what can be had again."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "blockyard"
