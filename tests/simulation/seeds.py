"""Seeds of the swarm that failed once, each with what they found. They stay for ever.

`make sim` prints a seed that fails, with the line that shows it again; it is added here with the
change that mends it, and every test run replays it.
"""

from __future__ import annotations

SEEDS_OF_OLD = (
    11,  # a stopped replica's successor inherited its leaving, and was kept closed for ever
)
