"""Every order of events of one move, with a fault anywhere: one owner, nothing held, no token lost.

MOVE_FAULTS=2 explores two faults together, which takes minutes and gigabytes.
"""

from __future__ import annotations

import os

from tests.property.moves.explore import explore
from tests.property.moves.world import world

# Fewer would mean that something no longer happens.
STATES_MIN = {0: 13_000, 1: 260_000, 2: 1_000_000}


def test_a_move_without_faults_ends_well_whenever_its_deadlines_pass() -> None:
    explored = explore(lambda: world(faults=0))
    assert explored.states >= STATES_MIN[0], explored


def test_a_move_ends_well_whatever_goes_wrong_once() -> None:
    faults = int(os.environ.get("MOVE_FAULTS", "1"))
    explored = explore(lambda: world(faults=faults))
    print(explored)
    assert explored.states >= STATES_MIN[faults], explored
