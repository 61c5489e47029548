"""What of a registry's holdings is a leak, and what of a gateway's gauges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.live.chaos.leaks import of_fleet, of_gateway, of_registry
from orchestrator.live.operator_client import FleetState, ReplicaState
from orchestrator.registry.audit import SlotHoldings
from orchestrator.registry.keys import Lease, LeaseState
from protos import control_pb2 as pb
from protos.messages import ModelCard, ReplicaId, Snapshot
from protos.registry import ReplicaRecord

A = ReplicaId("replica-a")
BLOCKS = frozenset({b"one", b"two"})
SOUND = SlotHoldings(
    slot=0,
    lease=Lease(LeaseState.READY, 7, A),
    record_epoch=7,
    listed=BLOCKS,
    marked=BLOCKS,
)


def state(*, epoch: int = 7, blocks_cached: int = 2) -> ReplicaState:
    snapshot = Snapshot(
        replica_id=A,
        epoch=epoch,
        number=1,
        blocks_total=10,
        blocks_free=10 - blocks_cached,
        blocks_cached=blocks_cached,
        blocks_used=0,
        sequences_running=0,
        sequences_waiting=0,
        prefill_tokens_waiting=0,
        blocks_waiting=0,
        draining=False,
        step_ns=1,
    )
    card = ModelCard("m", "1", "float32", block_size=16, context_tokens_max=100, vocab_size=256)
    return ReplicaState(ReplicaRecord(A, "a:1", card, 10), snapshot, "active")


def test_what_a_living_replica_keeps_is_no_leak() -> None:
    assert list(of_registry([SOUND], [state()])) == []


def test_a_slot_that_was_left_clean_is_no_leak() -> None:
    left = SlotHoldings(3, None, None, frozenset(), frozenset())
    assert list(of_registry([SOUND, left], [state()])) == []


@pytest.mark.parametrize(
    ("slot", "sentence"),
    [
        (replace(SOUND, lease=None), "keeps 2 blocks in slot 0, which nobody has"),
        (replace(SOUND, lease=None), "describes a replica in slot 0, which nobody has"),
        (replace(SOUND, record_epoch=6), "as of another epoch, 6"),
        (replace(SOUND, marked=frozenset({b"one"})), "contradicts itself about 1 blocks"),
        (
            replace(SOUND, lease=Lease(LeaseState.READY, 7, ReplicaId("gone"))),
            "has a lease of gone, which is gone",
        ),
        (replace(SOUND, lease=Lease(LeaseState.READY, 6, A)), "in epoch 6, it is in 7"),
    ],
)
def test_what_outlives_its_epoch_is_a_leak(slot: SlotHoldings, sentence: str) -> None:
    assert sentence in "; ".join(of_registry([slot], [state()]))


def test_blocks_that_the_replica_no_longer_keeps_are_a_leak() -> None:
    (leak,) = of_registry([SOUND], [state(blocks_cached=1)])
    assert leak == "the registry names 2 blocks of replica-a, which keeps 1"


def test_a_gateway_at_rest_counts_nothing() -> None:
    text = """blockyard_requests_in_flight 0.0
blockyard_requests_waiting{class="agent"} 0.0
blockyard_kv_blocks_promised{replica="replica-0"} 3.0
blockyard_kv_blocks{replica="replica-0",state="cached"} 30.0
"""
    assert list(of_gateway("gateway-0", text)) == [
        'gateway-0 counts 3 blockyard_kv_blocks_promised{replica="replica-0"}'
    ]


def test_a_fleet_at_rest_holds_nothing() -> None:
    assert list(of_fleet(FleetState((state(),), ()), [A])) == []


def test_what_a_replica_still_works_on_is_a_leak() -> None:
    idle = state().snapshot
    for snapshot, sentence in (
        (replace(idle, blocks_used=3), "replica-a has 3 blocks in use"),
        (replace(idle, sequences_running=3), "replica-a has 3 sequences running"),
        (replace(idle, sequences_waiting=3), "replica-a has 3 sequences waiting"),
    ):
        busy = replace(state(), snapshot=snapshot)
        assert list(of_fleet(FleetState((busy,), ()), [A])) == [sentence]


def test_a_replica_that_takes_no_work_is_not_as_before() -> None:
    draining = replace(state(), snapshot=replace(state().snapshot, draining=True))
    assert list(of_fleet(FleetState((draining,), ()), [A])) == ["replica-a takes no work"]


def test_who_has_not_reported_lately_may_hold_anything() -> None:
    stale = replace(state(), is_fresh=False)
    assert list(of_fleet(FleetState((stale,), ()), [A])) == ["replica-a has not reported lately"]


def test_a_move_under_way_is_a_leak() -> None:
    moves = (pb.MoveStatus(sequence_id="s-1"),)
    told = list(of_fleet(FleetState((state(),), moves), [A]))
    assert told == ["a move of s-1 is under way"]


def test_the_leader_knows_who_is_there_and_nobody_else() -> None:
    fleet = FleetState((state(),), ())
    assert list(of_fleet(fleet, [A, "replica-b"])) == ["the leader does not know replica-b"]
    assert list(of_fleet(fleet, [])) == ["the leader knows replica-a, which is gone"]
