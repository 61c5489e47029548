"""Seeds of the swarm that failed once, each with what they found. They stay for ever."""

from __future__ import annotations

SEEDS_OF_OLD = (
    598,  # a rolling update left every new replica closed: it inherited its forerunner's leaving
)
