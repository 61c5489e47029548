"""What is still held is said in sentences, and counters belong to the gateway that counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.chaos.world import CannotDo
from orchestrator.live.chaos.told import computed, counted, held, replicas
from protos.messages import EngineCounters, Snapshot
from tests.unit.control.reports import report

QUIET = """\
# TYPE blockyard_kv_cache_usage_perc gauge
blockyard_kv_cache_usage_perc{replica="a"} 0.0
blockyard_kv_cache_usage_perc{replica="b"} 0.0
# TYPE blockyard_kv_blocks gauge
blockyard_kv_blocks{replica="a",state="free"} 90.0
blockyard_kv_blocks{replica="a",state="cached"} 10.0
blockyard_kv_blocks{replica="a",state="shared"} 0.0
blockyard_kv_blocks{replica="a",state="private"} 0.0
# TYPE blockyard_num_requests_running gauge
blockyard_num_requests_running{replica="a"} 0.0
"""


def counters(resumed: int, placed: int) -> str:
    return (
        "# TYPE blockyard_streams_resumed_total counter\n"
        f"blockyard_streams_resumed_total {resumed}.0\n"
        "# TYPE blockyard_requests_placed_total counter\n"
        f'blockyard_requests_placed_total{{reason="room"}} {placed}.0\n'
        f'blockyard_requests_placed_total{{reason="prefix_hit"}} {placed}.0\n'
    )


def test_cached_blocks_are_not_held() -> None:
    assert held(QUIET) == ()
    assert replicas(QUIET) == 2


def test_what_is_held_is_said() -> None:
    assert held(
        QUIET.replace('private"} 0.0', 'private"} 2.0').replace('shared"} 0.0', 'shared"} 1.0')
    ) == ("a has 3 blocks in use",)


def test_labels_and_gateways_are_added_up() -> None:
    before = {"g0": counters(1, 10), "g1": counters(0, 5)}
    after = {"g0": counters(2, 14), "g1": counters(3, 5)}
    assert counted(before, after) == {"resumptions": 4, "placements": 8}


def test_a_gateway_that_began_anew_counts_from_zero() -> None:
    assert counted({"g0": counters(7, 9)}, {"g0": counters(2, 1)})["resumptions"] == 2
    assert counted({}, {"g2": counters(2, 1)})["resumptions"] == 2


def test_an_engine_of_a_new_epoch_counts_from_zero() -> None:
    def engine(preemptions: int, epoch: int) -> Snapshot:
        return replace(report(epoch=epoch), counters=EngineCounters(preemptions=preemptions))

    assert computed([engine(5, 1)], [engine(7, 1)])["preemptions"] == 2
    assert computed([engine(5, 1)], [engine(4, 2)])["preemptions"] == 4


@pytest.mark.parametrize("page", ["<html>", "a{b c} 1", "x y z"])
def test_a_page_that_is_none_of_metrics_is_no_gateway_of_ours(page: str) -> None:
    for look in (held, replicas):
        with pytest.raises(CannotDo, match="is no gateway's"):
            look(page)
