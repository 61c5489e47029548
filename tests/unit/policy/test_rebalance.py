"""Which sequences move, and which stay: each rule on a fleet of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.policy.fleet import EndedMove, Fleet, FleetReplica, MoveReason, OrderedMove
from orchestrator.policy.rebalance import MoveDecision, Rebalance, StayReason, rebalance
from orchestrator.policy.rebalance_config import RebalanceConfig
from protos.messages import ReplicaId, RequestClass, SequenceReport, Standing
from protos.moves import MoveId, MoveOutcome
from tests.unit.policy.fleets import CARD, SECOND, fleet, replica, sequence

CONFIG = RebalanceConfig()


def many(name: str, count: int, blocks: int = 10) -> list[SequenceReport]:
    return [sequence(f"{name}{i}", blocks) for i in range(count)]


def routes(result: Rebalance) -> list[tuple[MoveReason, str, str | None, str]]:
    return [(m.reason, m.source, m.target, m.sequence.request_id) for m in result.moves]


def decided(*replicas: FleetReplica, config: RebalanceConfig = CONFIG) -> Rebalance:
    return rebalance(fleet(*replicas), config)


# ---- balance


def test_a_sequence_moves_from_the_least_to_the_most_free() -> None:
    result = decided(
        replica("full", *many("f", 9)), replica("half", *many("h", 4)), replica("idle")
    )
    first = result.moves[0]
    assert (first.reason, first.source, first.target) == (MoveReason.BALANCE, "full", "idle")
    figures = dict(first.figures)
    assert figures["source_freeness"] < figures["source_freeness_after"]
    assert figures["target_freeness_after"] >= figures["source_freeness"]


def test_equally_free_replicas_leave_each_other_alone() -> None:
    assert decided(replica("a", *many("a", 9)), replica("b", *many("b", 9))).moves == ()


def test_nothing_moves_while_nobody_is_short_of_blocks() -> None:
    assert decided(replica("a", *many("a", 4)), replica("b")).moves == ()


def test_the_decision_does_not_depend_on_the_order_of_the_replicas() -> None:
    replicas = [replica("a", *many("a", 9)), replica("b"), replica("c", *many("c", 9))]
    there, back = decided(*replicas), decided(*reversed(replicas))
    assert set(there.moves) == set(back.moves)
    assert there == decided(*replicas)


def test_waiting_sequences_count_as_if_they_had_their_blocks() -> None:
    """Both use 50 blocks; one has as many asked of it again, and is no target but a source."""
    waiting = [sequence(f"w{i}", 9, waiting=True) for i in range(5)]
    busy = replica("busy", *many("b", 5), *waiting)
    calm = replica("calm", *many("c", 4))
    assert {(m.source, m.target) for m in decided(busy, calm).moves} == {("busy", "calm")}


def test_the_least_urgent_class_moves_first() -> None:
    urgent = [sequence(f"i{i}", 10, request_class=RequestClass.INTERACTIVE) for i in range(8)]
    batch = sequence("batch", 6, request_class=RequestClass.BATCH)
    (move,) = decided(replica("full", *urgent, batch), replica("idle")).moves
    assert move.sequence.request_id == "batch"


def test_relief_is_weighed_against_the_blocks_to_copy() -> None:
    """Of the same length, but nearly all of its blocks are others' too: it would free little."""
    sharing = [sequence(f"s{i}", 10, own=1) for i in range(8)]
    alone = sequence("alone", 10)
    full = replica("full", *sharing, alone, used=95)
    (move,) = decided(full, replica("idle")).moves
    assert move.sequence.request_id == "alone"


def test_of_two_alike_the_one_with_more_to_come_moves() -> None:
    short, long = sequence("short", left=100), sequence("long", left=900)
    others = [sequence(f"o{i}", 14, movable=False) for i in range(5)]
    (move,) = decided(replica("full", short, long, *others), replica("idle")).moves
    assert move.sequence.request_id == "long"


@pytest.mark.parametrize(
    "sequences",
    [
        pytest.param([sequence(f"s{i}", left=63) for i in range(9)], id="about to end"),
        pytest.param([sequence(f"s{i}", movable=False) for i in range(9)], id="not movable"),
    ],
)
def test_what_cannot_move_or_is_not_worth_it_stays(sequences: list[SequenceReport]) -> None:
    assert decided(replica("full", *sequences), replica("idle")).moves == ()


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(replica("t", is_fresh=False), id="silent"),
        pytest.param(replica("t", standing=Standing.CORDONED), id="cordoned"),
        pytest.param(replica("t", standing=Standing.LEAVING), id="leaving"),
        pytest.param(replica("t", card=replace(CARD, revision="r2")), id="other weights"),
        pytest.param(replica("t", sequence("x", 88, movable=False), total=100), id="no room"),
    ],
)
def test_some_replicas_are_never_a_target(target: FleetReplica) -> None:
    assert decided(replica("full", *many("f", 9)), target).moves == ()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(replica("s", *many("s", 9), is_fresh=False), id="silent"),
        pytest.param(replica("s", *many("s", 9), standing=Standing.CORDONED), id="cordoned"),
    ],
)
def test_some_replicas_are_never_a_source(source: FleetReplica) -> None:
    assert decided(source, replica("idle")).moves == ()


def test_a_narrow_gap_begins_nothing_but_is_closed_once_begun() -> None:
    """Freeness 1.1 and 8.7: nothing begins. With a balancing move just ended, it goes on."""
    full, calm = replica("full", *many("f", 9)), replica("calm", *many("c", 6, 8))
    assert decided(full, calm).moves == ()
    before = moved(sequence("earlier"), "full", "calm", reason=MoveReason.BALANCE)
    going_on = Fleet(SECOND, (full, calm), ended=(EndedMove(before, MoveOutcome.MOVED, 0),))
    assert [m.reason for m in rebalance(going_on, CONFIG).moves] == [MoveReason.BALANCE]


def moved(
    which: SequenceReport,
    source: str,
    target: str | None,
    *,
    reason: MoveReason = MoveReason.OPERATOR,
) -> OrderedMove:
    to = ReplicaId(target) if target is not None else None
    return OrderedMove(MoveId("m"), ReplicaId(source), to, which, reason, 0)


# ---- bounds and cooldowns


def test_one_move_for_each_pair_and_a_bound_for_each_end() -> None:
    full = replica("full", *many("f", 18, 5))
    result = decided(full, replica("i1"), replica("i2"), replica("i3"))
    assert [(m.source, m.target) for m in result.moves] == [("full", "i1"), ("full", "i2")]
    sources = [replica(f"s{i}", *many(f"s{i}-", 18, 5)) for i in range(4)]
    into = [m.target for m in decided(*sources, replica("idle")).moves]
    assert into == ["idle"] * CONFIG.moves_in_max


def test_moves_under_way_count_against_the_bounds() -> None:
    running = many("f", 9)
    picture = Fleet(
        0,
        (replica("full", *running), replica("idle")),
        tuple(moved(s, "full", "idle") for s in running[:2]),
    )
    assert rebalance(picture, CONFIG).moves == ()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("elsewhere", "full", id="something still arrives at the source"),
        pytest.param("idle", "elsewhere", id="something still leaves the target"),
    ],
)
def test_nothing_leaves_where_something_arrives_or_arrives_where_something_leaves(
    source: str, target: str
) -> None:
    full, idle = replica("full", *many("f", 9)), replica("idle", sequence("i"))
    elsewhere = replica("elsewhere", *many("e", 4), standing=Standing.CORDONED)
    here = next(r for r in (full, idle, elsewhere) if r.replica_id == source)
    under_way = moved(here.sequences[0], source, target)
    fleet_now = Fleet(0, (full, idle, elsewhere))
    assert routes(rebalance(fleet_now, CONFIG)), "without that it would"
    assert routes(rebalance(replace(fleet_now, moves=(under_way,)), CONFIG)) == []


def test_a_sequence_that_came_by_a_move_stays_for_a_while() -> None:
    running = many("f", 9)
    full = replica("full", *(replace(s, is_movable=s is running[0]) for s in running))
    end = EndedMove(moved(running[0], "elsewhere", "full"), MoveOutcome.MOVED, 0)
    for now_ns, count in ((9 * SECOND, 0), (11 * SECOND, 1)):
        picture = Fleet(now_ns, (full, replica("idle")), ended=(end,))
        assert len(rebalance(picture, CONFIG).moves) == count


def test_nothing_goes_back_where_something_came_from_for_a_while() -> None:
    end = EndedMove(moved(sequence("gone"), "idle", "full"), MoveOutcome.MOVED, 0)
    replicas = (replica("full", *many("f", 9)), replica("idle"))
    assert rebalance(Fleet(9 * SECOND, replicas, ended=(end,)), CONFIG).moves == ()
    assert len(rebalance(Fleet(11 * SECOND, replicas, ended=(end,)), CONFIG).moves) == 1


def test_a_target_that_declined_is_left_alone_for_a_moment() -> None:
    end = EndedMove(moved(sequence("gone"), "full", "idle"), MoveOutcome.DECLINED, 0)
    replicas = (replica("full", *many("f", 9)), replica("idle"))
    assert rebalance(Fleet(SECOND // 2, replicas, ended=(end,)), CONFIG).moves == ()
    assert len(rebalance(Fleet(2 * SECOND, replicas, ended=(end,)), CONFIG).moves) == 1


# ---- head room


def test_an_interactive_sequence_makes_its_replica_less_free_by_the_head_room() -> None:
    """Two targets in the same state but for one class: the other one is chosen."""
    config = replace(CONFIG, headroom_share=0.2)
    urgent = replica("a", sequence("i", 10, request_class=RequestClass.INTERACTIVE))
    calm = replica("b", sequence("b", 10, request_class=RequestClass.BATCH))
    moves = decided(replica("full", *many("f", 9)), urgent, calm, config=config).moves
    assert [move.target for move in moves] == ["b", "a"]


def test_others_do_not_take_an_interactive_sequences_head_room() -> None:
    """30 blocks are free and 20 of them are head room: no place for 10 and their growth."""
    target = replica("t", sequence("i", 70, request_class=RequestClass.INTERACTIVE))
    agents = replica("full", *many("f", 9), total=90)
    config = replace(CONFIG, headroom_share=0.2, gap_begin=2.0)
    assert decided(agents, target, config=config).moves == ()
    assert decided(agents, target, config=replace(config, headroom_share=0.0)).moves != ()


# ---- room for one that waits


def crowded(name: str) -> FleetReplica:
    return replica(name, *many(name, 4, 20))


def test_scattered_room_is_gathered_for_a_sequence_that_waits() -> None:
    """Thrice 20 free blocks are no place for 40, until one replica gives a sequence away."""
    head = sequence("head", 40, waiting=True)
    waits = replica("a", *many("a", 5, 15), head, total=95)
    result = decided(waits, replica("b", *many("b", 4, 20)), replica("c", *many("c", 4, 20)))
    assert routes(result) == [
        (MoveReason.ROOM, "a", "b", "a0"),
        (MoveReason.ROOM, "a", "c", "a1"),
    ]


@pytest.mark.parametrize(
    "bound", [{"moves_out_max": 1}, {"moves_in_max": 0}, {"moves_out_max": 0}], ids=str
)
def test_all_of_a_way_out_is_ordered_or_none_of_it(bound: dict[str, int]) -> None:
    """Two must leave for this head. One alone would be copied for nothing."""
    head = sequence("head", 40, waiting=True)
    waits = replica("a", *many("a", 5, 15), head, total=95)
    others = replica("b", *many("b", 4, 20)), replica("c", *many("c", 4, 20))
    config = replace(CONFIG, gap_begin=100.0, **bound)  # type: ignore[arg-type]
    assert decided(waits, *others, config=config).moves == ()
    unbound = replace(config, moves_out_max=2, moves_in_max=2)
    assert len(decided(waits, *others, config=unbound).moves) == 2


def test_a_way_out_counts_the_moves_that_arrive_at_its_targets_already() -> None:
    head = sequence("head", 40, waiting=True)
    waits = replica("a", *many("a", 5, 15), head, total=95)
    others = (replica("b", *many("b", 4, 20)), replica("c", *many("c", 4, 20)))
    coming = moved(sequence("x", 0), "elsewhere", "c")
    config = replace(CONFIG, gap_begin=100.0, moves_in_max=1)
    assert len(rebalance(Fleet(0, (waits, *others)), config).moves) == 2
    assert rebalance(Fleet(0, (waits, *others), (coming,)), config).moves == ()


def test_no_room_is_made_where_the_head_would_not_fit_afterwards() -> None:
    head = sequence("head", 80, waiting=True)
    waits = replica("a", *many("a", 4, 20), head)
    assert decided(waits, crowded("b"), crowded("c")).moves == ()


def test_no_room_is_made_for_a_head_that_fits_elsewhere_or_already() -> None:
    fits_here = replica("a", *many("a", 4, 20), sequence("head", 15, waiting=True))
    assert MoveReason.ROOM not in {m.reason for m in decided(fits_here, replica("b")).moves}
    fits_there = replica("a", *many("a", 4, 20), sequence("head", 40, waiting=True))
    assert MoveReason.ROOM not in {m.reason for m in decided(fits_there, replica("b")).moves}


def test_nobody_more_urgent_leaves_for_one_that_waits() -> None:
    urgent = [sequence(f"u{i}", 10, request_class=RequestClass.INTERACTIVE) for i in range(8)]
    head = sequence("head", 30, waiting=True, request_class=RequestClass.BATCH)
    result = decided(replica("a", *urgent, head), replica("b", *many("b", 4, 19)))
    assert MoveReason.ROOM not in {move.reason for move in result.moves}


# ---- drain


def leaving(*sequences: SequenceReport) -> FleetReplica:
    return replica("old", *sequences, standing=Standing.LEAVING)


def test_a_leaving_replica_gives_its_sequences_to_the_most_free() -> None:
    result = decided(leaving(*many("o", 3)), replica("a", *many("a", 5)), replica("b"))
    assert [(m.reason, m.source, m.target) for m in result.moves] == [
        (MoveReason.DRAIN, "old", "b")
    ] * CONFIG.drain_moves_max


def test_what_waits_at_a_leaving_replica_is_handed_back_once_somebody_takes_work() -> None:
    old = leaving(sequence("w", 5, waiting=True, movable=False))
    assert routes(decided(old, replica("a"))) == [(MoveReason.DRAIN, "old", None, "w")]
    assert decided(old, replica("a", standing=Standing.CORDONED)).moves == ()


def test_a_sequence_that_fits_nowhere_waits_and_is_told_of() -> None:
    result = decided(leaving(*many("o", 1, 50)), replica("a", *many("a", 6)))
    assert result.moves == ()
    (stay,) = result.stays
    assert (stay.reason, stay.source, stay.sequences) == (StayReason.NO_ROOM, "old", 1)
    (alone,) = decided(leaving(*many("o", 1))).stays
    assert alone.reason is StayReason.NO_TARGET


def test_a_drain_is_bounded_and_does_not_ask_twice_for_the_same() -> None:
    config = replace(CONFIG, drain_moves_max=3)
    running = many("o", 6, 2)
    replicas = (leaving(*running), replica("a"))
    first = rebalance(Fleet(0, replicas), config).moves
    assert len(first) == 3
    under_way = tuple(ordered(move) for move in first)
    assert rebalance(Fleet(0, replicas, under_way), config).moves == ()
    assert len(rebalance(Fleet(0, replicas, under_way[:2]), config).moves) == 1


def ordered(move: MoveDecision) -> OrderedMove:
    return moved(move.sequence, move.source, move.target, reason=move.reason)


def test_a_drain_does_not_wait_for_a_sequence_that_has_just_come() -> None:
    came = EndedMove(moved(sequence("o0"), "elsewhere", "old"), MoveOutcome.MOVED, 0)
    picture = Fleet(SECOND, (leaving(*many("o", 1)), replica("a")), ended=(came,))
    assert len(rebalance(picture, CONFIG).moves) == 1


def test_drains_go_on_while_balancing_is_off() -> None:
    picture = fleet(leaving(*many("o", 1)), replica("full", *many("f", 9)), replica("a"))
    reasons = [m.reason for m in rebalance(picture, CONFIG, balancing=False).moves]
    assert reasons == [MoveReason.DRAIN]
