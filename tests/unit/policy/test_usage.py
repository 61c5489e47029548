"""What a request costs, in blocks and time."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.policy.route import RouteConfig, route
from orchestrator.policy.usage import predicted_block_ns, used_block_ns
from protos.messages import ReplicaId
from tests.unit.policy.views import cluster, idle, subject

SECOND = 1_000_000_000


def test_a_prediction_is_the_blocks_it_brings_for_a_prefill_and_a_residence() -> None:
    """640 tokens at 4,000 a second, of which it finds 320; 20 blocks more and 4 to grow."""
    view = cluster(replace(idle("a"), residence_ns=2 * SECOND))
    config = RouteConfig()
    placement = route(view, subject(), {ReplicaId("a"): 20}, config)
    assert placement is not None
    predicted = predicted_block_ns(view, placement, config.scores)
    assert predicted == 24 * (2 * SECOND + SECOND * 320 // 4000)


def test_use_is_measured_with_blocks_that_grew_one_by_one() -> None:
    """40 blocks of prompt less 20 found, and 4 of completion, half of them on average."""
    used = used_block_ns(subject(), hit_blocks=20, tokens=64, decode_ns=SECOND)
    assert used == 22 * SECOND


def test_what_never_began_used_nothing() -> None:
    assert used_block_ns(subject(), hit_blocks=0, tokens=0, decode_ns=0) == 0
