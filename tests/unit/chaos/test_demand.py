"""What is asked: the same for a seed everywhere, from a catalogue that no seed changes."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from orchestrator.chaos.demand import BLOCK_SIZE, Due, demand, traffic, words
from orchestrator.chaos.faults import CLIENTS
from orchestrator.chaos.library import load, names
from orchestrator.chaos.scenario import Spike
from orchestrator.chaos.storm import drawn
from tests.unit.chaos.made_up import LOAD, SCENARIO


def items(dues: tuple[Due, ...]) -> set[tuple[int, ...]]:
    return {due.arrival.block_ids for due in dues}


def test_a_seed_asks_the_same_again_and_another_one_something_else() -> None:
    assert demand(SCENARIO, 1) == demand(SCENARIO, 1)
    assert demand(SCENARIO, 1) != demand(SCENARIO, 2)


def test_all_seeds_draw_from_one_small_catalogue() -> None:
    busy = replace(SCENARIO, loads=(replace(LOAD, rate=50.0, variety=5),))
    assert items(demand(busy, 1)) == items(demand(busy, 2))
    assert len(items(demand(busy, 1))) == 5


def test_requests_of_a_load_share_exactly_its_prefix() -> None:
    one, other, *_ = sorted(items(demand(replace(SCENARIO, loads=(replace(LOAD, rate=50.0),)), 1)))
    shared = LOAD.prefix_tokens // BLOCK_SIZE
    assert one[:shared] == other[:shared]
    assert one[shared:] != other[shared:]


def test_blocks_cover_the_prompt() -> None:
    for due in demand(load("agents-fill-memory"), 0):
        assert -(-due.arrival.input_tokens // BLOCK_SIZE) == len(due.arrival.block_ids)


def test_a_spike_multiplies_the_rate_while_it_lasts() -> None:
    spiking = replace(SCENARIO, loads=(replace(LOAD, rate=20.0, spikes=(Spike(4.0, 2.0, 10.0),)),))
    times = [due.due_s for due in demand(spiking, 0)]
    inside = sum(4.0 <= at_s < 6.0 for at_s in times)
    assert 300 < inside < 500
    assert len(times) - inside < 250


def test_named_moments_are_kept_to() -> None:
    only = replace(SCENARIO, loads=(replace(LOAD, rate=0.0, at_s=(1.5, 3.0)),))
    assert [due.due_s for due in demand(only, 7)] == [1.5, 3.0]


def test_requests_are_numbered_by_time() -> None:
    dues = demand(load("spike-x10-both"), 4)
    assert [due.number for due in dues] == list(range(len(dues)))
    assert [a.number for a in traffic(dues).arrivals] == list(range(len(dues)))


def test_a_block_as_words_has_a_letter_for_each_token_and_its_own() -> None:
    assert len(words(7)) == BLOCK_SIZE
    assert words(7) != words(8)
    assert words(7).isascii()


@pytest.mark.parametrize("seed", range(20))
def test_a_storm_is_drawn_by_its_seed(seed: int) -> None:
    storm = load("storm")
    whole = drawn(storm, seed)
    assert whole == drawn(storm, seed)
    assert storm.storm is not None
    before_gateways = [one for one in whole.faults if CLIENTS in astuple(one.fault)]
    assert len(before_gateways) <= 1
    others = len(whole.faults) - len(before_gateways)
    assert storm.storm.faults[0] <= others <= storm.storm.faults[1]
    assert all(0 <= timed.at_s <= storm.seconds for timed in whole.faults)


def test_other_scenarios_are_as_they_are_written() -> None:
    assert all(drawn(load(name), 1) == load(name) for name in names() if name != "storm")
