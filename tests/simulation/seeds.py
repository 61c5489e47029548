"""Seeds of the swarm that failed once, each with what they found. They stay for ever."""

from __future__ import annotations

SEEDS_OF_OLD = (
    11,  # a stopped replica's successor inherited its leaving, and was kept closed for ever
)
