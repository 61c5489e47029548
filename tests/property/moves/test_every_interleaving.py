"""Every order of events of one move, with a fault anywhere: one owner, nothing held, no token lost.

MOVE_FAULTS=2 explores every two faults together in a somewhat shorter sequence: a minute.
"""

from __future__ import annotations

import os

from tests.property.moves.explore import explore
from tests.property.moves.world import world

# For so many faults: tokens of the sequence, and states, as counted. Fewer would
# mean that something no longer happens.
EXTENTS = {1: (4, 335_000), 2: (3, 575_000)}


def test_a_move_without_faults_ends_well_whenever_its_deadlines_pass() -> None:
    explored = explore(lambda: world(faults=0))
    assert explored.states >= 13_000, explored


def test_a_move_ends_well_whatever_goes_wrong() -> None:
    faults = int(os.environ.get("MOVE_FAULTS", "1"))
    tokens_max, states_min = EXTENTS[faults]
    explored = explore(lambda: world(faults=faults, tokens_max=tokens_max))
    print(explored)
    assert explored.states >= states_min, explored
