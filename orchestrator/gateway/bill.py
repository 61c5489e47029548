"""What a placement was charged to its tenant, until it is known what it used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bill:
    """Open from the placement to the end of what was placed."""

    charged: int  # block-nanoseconds
    hit_blocks: int  # believed to be there, and so not charged
    registered_blocks: int  # of these, as many as the registry had
    intended_blocks: int  # and beyond those, as many as were to be there because of a placement
    began_ns: int
