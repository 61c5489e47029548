"""A placement is charged, remembered and announced; what others announce is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.intended import IntendedBlocks
from orchestrator.gateway.promises import Promises
from orchestrator.policy.route import Placement, RouteReason
from orchestrator.policy.scores import Cost
from protos.hashing import block_hashes, scope_hash
from protos.registry import Announcement
from tests.unit.control.reports import MS, A, member, report

PROMPT = block_hashes(range(40 * 4), block_size=4, root=scope_hash(["m"]))
PLACEMENT = Placement(
    replica_id=A,
    epoch=1,
    reason=RouteReason.LOAD,
    cost=Cost(44, 0, queue_s=0.5, prefill_s=1.0, room_s=0.0, pressure_s=9.0),
    hit_blocks=10,
    blocks=44,
    prefill_tokens=120,
    sequences=2,
    is_interactive=False,
)


class Clock:
    def now_ns(self) -> int:
        return 7 * MS

    async def sleep(self, seconds: float) -> None: ...


class Channel:
    """Keeps what is said, and lets somebody else speak."""

    def __init__(self) -> None:
        self.said: list[Announcement] = []
        self.hear: Callable[[Announcement], None] = lambda _: None

    def announce(self, announcement: Announcement) -> None:
        self.said.append(announcement)

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        self.hear = hear

    async def close(self) -> None: ...


class Gateway:
    def __init__(self) -> None:
        self.cluster, self.intended, self.channel = (
            Cluster(ClusterConfig()),
            IntendedBlocks(lambda: self.cluster.members()),
            Channel(),
        )
        self.cluster.observe_members([member(A)])
        self.cluster.observe_report(report(A), 0)
        self.promises = Promises(self.cluster, self.intended, self.channel, Clock())

    def foreseen(self, now_ns: int) -> int:
        return self.intended.foresee({A: 10}, PROMPT, {A: 1}, now_ns)[A]

    def promised(self, now_ns: int) -> tuple[int, int, int]:
        (replica,) = self.cluster.view(now_ns).replicas
        return (
            replica.blocks_promised,
            replica.prefill_tokens_promised,
            replica.sequences_promised,
        )


def test_a_promise_is_charged_here_and_told_to_others() -> None:
    one, other = Gateway(), Gateway()
    debit = one.promises.make(PLACEMENT, PROMPT, held=10)
    (said,) = one.channel.said
    assert said == Announcement(A, 1, 120, 44, 2, False, 4000, PROMPT, held=10)
    other.channel.hear(said)
    for gateway in (one, other):
        assert gateway.promised(8 * MS) == (44, 120, 2)
        assert gateway.foreseen(8 * MS) == 40
        assert gateway.foreseen(4007 * MS) == 10
    assert one.cluster.debits == (debit,)
    assert other.cluster.debits == ()


def test_of_a_replica_in_another_epoch_nothing_is_believed() -> None:
    other = Gateway()
    other.channel.hear(Announcement(A, 2, 120, 44, 2, False, 4000, PROMPT))
    assert other.promised(8 * MS) == (0, 0, 0)
    assert other.intended.recall(PROMPT, {A: 2}) == {}


@pytest.mark.parametrize(("queue_s", "settle_ms"), [(0.0, 1000), (2.0, 5000), (900.0, 60_000)])
def test_a_promise_settles_in_twice_the_time_that_it_is_expected_to_take(
    queue_s: float, settle_ms: int
) -> None:
    one = Gateway()
    cost = Cost(44, 0, queue_s=queue_s, prefill_s=0.0, room_s=0.0, pressure_s=0.0)
    one.promises.make(replace(PLACEMENT, cost=cost), PROMPT, held=10)
    assert one.channel.said[0].settle_ms == settle_ms


def test_nobody_else_can_make_a_promise_last_for_ever() -> None:
    other = Gateway()
    other.channel.hear(Announcement(A, 1, 120, 44, 2, False, 4_000_000_000, PROMPT))
    other.cluster.observe_report(report(A, number=1), 60_007 * MS)  # the first one of two
    assert other.promised(60_007 * MS) == (0, 0, 0)
    assert other.foreseen(60_007 * MS) == 10


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8))
def test_without_a_registry_others_know_what_a_gateway_knows(
    placed: list[tuple[int, int]],
) -> None:
    """Power: told of the blocks only that are not there yet, they recall nothing of a prompt."""
    one, other = Gateway(), Gateway()
    for length, held in placed:
        one.promises.make(PLACEMENT, PROMPT[:length], held=min(held, length))
        other.channel.hear(one.channel.said[-1])
        for gateway in (one, other):
            assert gateway.intended.recall(PROMPT, {A: 1})[A] >= length
    for now_ns in (8 * MS, 4007 * MS):
        assert other.foreseen(now_ns) == one.foreseen(now_ns)
