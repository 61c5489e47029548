"""Any fleet, all orders obeyed: it comes to rest, nothing goes round, every bound holds.

The fleet on paper obeys each order at some later time, in any order, so that
looks fall between an order and its end as they do in life. Checked by taking
out of `rebalance` the gain of the poorer one, and the question whether a
sequence fits: each is found.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.books import Books
from orchestrator.policy.fleet import FleetReplica
from orchestrator.policy.rebalance import Rebalance, rebalance
from orchestrator.policy.rebalance_config import NS_PER_MS, RebalanceConfig
from protos.messages import RequestClass, SequenceReport, Standing
from tests.unit.policy.fleets import CARD, Played, played, replica, sequence

CONFIG = RebalanceConfig(gap_begin=4.0, gap_stop=1.0, used_share_min=0.3)
LOOKS_MAX = 2_000
STEP_NS = CONFIG.interval_ms * NS_PER_MS
OTHER = type(CARD)("other", "r1", "float32", 16, 4096, 99)


@st.composite
def replicas(draw: st.DrawFn) -> list[FleetReplica]:
    return [one_replica(draw, f"r{i}") for i in range(draw(st.integers(2, 5)))]


def one_replica(draw: st.DrawFn, name: str) -> FleetReplica:
    total = draw(st.integers(60, 200))
    sequences: list[SequenceReport] = []
    used = 0
    for i in range(draw(st.integers(0, 14))):
        blocks = draw(st.one_of(st.integers(1, 12), st.integers(1, 90)))
        waiting = draw(st.integers(0, 9)) == 9
        if not waiting and used + blocks > total:
            continue
        used += 0 if waiting else blocks
        sequences.append(
            sequence(
                f"{name}-{i}",
                blocks,
                left=draw(st.sampled_from([2000, 200, 10])),
                request_class=draw(st.sampled_from(list(RequestClass))),
                waiting=waiting,
                movable=draw(st.integers(0, 7)) < 7,
            )
        )
    standing = draw(st.sampled_from([Standing.OPEN] * 4 + [Standing.CORDONED, Standing.LEAVING]))
    card = draw(st.sampled_from([CARD] * 4 + [OTHER]))
    fresh = draw(st.integers(0, 7)) < 7
    return replica(name, *sequences, total=total, standing=standing, card=card, is_fresh=fresh)


def look(fleet: Played) -> Rebalance:
    """One look at the fleet, with everything checked that must hold for every order."""
    picture = fleet.picture()
    result = rebalance(picture, CONFIG)
    assert result == rebalance(picture, CONFIG), "not a function of the picture"
    books = Books(picture, CONFIG)
    known = {r.replica_id: r for r in picture.replicas}
    for move in result.moves:
        source = known[move.source]
        assert source.is_fresh and source.standing is not Standing.CORDONED
        if move.target is None:
            assert source.standing is Standing.LEAVING and move.sequence.is_waiting
            continue
        target = known[move.target]
        assert target.is_fresh and target.standing is Standing.OPEN and target.card == source.card
        assert move.sequence.is_movable and not move.sequence.is_waiting
        assert books.fits(move.sequence, target)
    check_bounds(fleet, result)
    return result


def check_bounds(fleet: Played, result: Rebalance) -> None:
    moves = [(m.source, m.target, m.sequence.request_id) for m in result.moves]
    moves += [(m.source, m.target, m.sequence.request_id) for m in fleet.under_way]
    assert max(Counter(name for _, _, name in moves).values(), default=0) <= 1
    travelling = [(source, target) for source, target, _ in moves if target is not None]
    staying = [
        pair for pair in travelling if fleet.replicas[pair[0]].standing is not Standing.LEAVING
    ]
    assert max(Counter(s for s, _ in staying).values(), default=0) <= CONFIG.moves_out_max
    assert max(Counter(s for s, _ in travelling).values(), default=0) <= CONFIG.drain_moves_max
    assert not set(travelling) & {pair[::-1] for pair in travelling}, "back and forth"


@settings(max_examples=100, deadline=None)
@given(replicas(), st.data())
def test_a_fleet_comes_to_rest(members: list[FleetReplica], data: st.DataObject) -> None:
    fleet = played(*members)
    quiet_ns = 0
    for _ in range(LOOKS_MAX):
        result = look(fleet)
        for move in result.moves:
            fleet.order(move)
        patience = data.draw(st.integers(0, 3)) if fleet.under_way and fleet.ordered < 40 else 0
        for order in fleet.under_way[patience:]:
            fleet.obey(order)
        fleet.now_ns += STEP_NS
        quiet_ns = 0 if result.moves or fleet.under_way else quiet_ns + STEP_NS
        if quiet_ns > 2 * CONFIG.cooldown_ms * NS_PER_MS:
            return
    raise AssertionError("the fleet never rests")


@settings(max_examples=100, deadline=None)
@given(replicas())
def test_a_fleet_that_may_only_balance_gets_no_poorer_and_never_sees_a_state_twice(
    members: list[FleetReplica],
) -> None:
    """The sorted freenesses grow lexicographically from move to move, taken one at a time."""
    staying = [r for r in members if r.standing is Standing.OPEN and not r.snapshot.blocks_waiting]
    fleet = played(*staying)
    for _ in range(200):
        moves = look(fleet).moves
        if not moves:
            return
        before = freenesses(fleet)
        fleet.order(moves[0])
        fleet.obey(fleet.under_way[0])
        assert freenesses(fleet) > before
        fleet.now_ns += 2 * CONFIG.cooldown_ms * NS_PER_MS
    raise AssertionError("the fleet never rests")


def freenesses(fleet: Played) -> list[float]:
    books = Books(type(fleet.picture())(0, tuple(fleet.replicas.values())), CONFIG)
    return sorted(load.freeness for load in books.loads.values())
