"""Those that wait, as a replica reports them and as the policy of moves reads it."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.policy.fleet import Fleet, FleetReplica, MoveReason
from orchestrator.policy.rebalance import rebalance, waiting_head
from orchestrator.policy.rebalance_config import RebalanceConfig
from protos.messages import ReplicaId, RequestClass, Standing
from tests.unit.shell.counting import CARD, request
from tests.unit.shell.desk import Desk

WAITING = [f"waits-{number}" for number in range(12)]  # so many that ids as text sort otherwise
CONFIG = RebalanceConfig(growth_tokens=0, headroom_share=0.0, tokens_left_min=0)


def crowded() -> Desk:
    """Three that hold 60 of 64 blocks, and a line behind them: `batch` came first."""
    desk = Desk()
    link = desk.links.attach()
    for number in range(3):
        desk.links.submit(link, request(f"runs-{number}", prompt_tokens=77, tokens_max=9))
    desk.step()
    batch = request("batch", prompt_tokens=8)
    desk.links.submit(link, replace(batch, request_class=RequestClass.BATCH))
    for name in WAITING:
        desk.links.submit(link, request(name, prompt_tokens=94))
    return desk


def reported(desk: Desk, name: str, count_max: int) -> FleetReplica:
    snapshot = replace(desk.links.news().snapshot, replica_id=ReplicaId(name))
    sequences = desk.links.sequences(count_max)
    return FleetReplica(snapshot, CARD, True, Standing.OPEN, sequences)


async def test_those_that_wait_are_reported_in_the_order_of_service() -> None:
    reports = crowded().links.sequences(100)
    running, line = reports[:3], reports[3:]
    assert not any(report.is_waiting for report in running)
    assert [report.request_id for report in line] == [*WAITING, "batch"]


async def test_the_first_that_waits_is_reported_though_others_are_cut_off() -> None:
    for count_max in (1, 2):
        *largest, head = crowded().links.sequences(count_max)
        assert [report.is_waiting for report in largest] == [False] * count_max
        assert head.request_id == WAITING[0]


async def test_room_is_made_for_the_first_in_line_also_where_reports_are_cut() -> None:
    for count_max in (2, 100):
        full = reported(crowded(), "full", count_max)
        head = waiting_head(full)
        assert head is not None and head.request_id == WAITING[0]
        other = Desk()
        other.links.submit(other.links.attach(), request("there", prompt_tokens=166))
        other.step()
        fleet = Fleet(0, (full, reported(other, "other", count_max)))
        assert MoveReason.ROOM in {move.reason for move in rebalance(fleet, CONFIG).moves}
