"""Blocks of 16 tokens; a request sets 4 blocks aside for what it will generate."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.policy.scores import ScoreConfig
from orchestrator.policy.stranded import Hits, blocks_stranded
from orchestrator.policy.view import ReplicaView, Subject
from protos.messages import ReplicaId
from tests.unit.policy.views import cluster, full, idle, subject

CONFIG = ScoreConfig()


def with_free(name: str, blocks: int) -> ReplicaView:
    return replace(full(name), blocks_free=blocks, blocks_used=1000 - blocks)


def stranded(*replicas: ReplicaView, waiting: tuple[tuple[Subject, Hits], ...] = ()) -> int:
    return blocks_stranded(cluster(*replicas), waiting, CONFIG)


FORTY_BLOCKS = subject(640)


def test_while_nobody_waits_nothing_is_stranded() -> None:
    assert stranded(idle("a"), with_free("b", 20)) == 0


def test_twenty_here_and_twenty_there_do_not_help_who_needs_forty() -> None:
    two_halves = (with_free("a", 20), with_free("b", 20))
    assert stranded(*two_halves, waiting=((FORTY_BLOCKS, {}),)) == 40
    assert stranded(with_free("a", 44), with_free("b", 20), waiting=((FORTY_BLOCKS, {}),)) == 20


def test_what_somebody_else_in_the_line_can_use_is_not_stranded() -> None:
    waiting: tuple[tuple[Subject, Hits], ...] = ((FORTY_BLOCKS, {}), (subject(160), {}))
    assert stranded(with_free("a", 20), waiting=waiting) == 0


def test_a_hit_lets_a_request_use_what_it_could_not_fill() -> None:
    hits = {ReplicaId("a"): 30}
    assert stranded(with_free("a", 20), waiting=((FORTY_BLOCKS, hits),)) == 0


def test_blocks_beside_a_queue_at_another_replica_are_stranded() -> None:
    """The incident: one replica queues while the blocks of another are unused."""
    queueing = replace(full("a"), sequences_waiting=3, blocks_waiting=120)
    assert stranded(queueing, idle("b")) == 1000


def test_blocks_that_a_replica_s_own_queue_is_too_large_for_are_stranded() -> None:
    queueing = replace(with_free("a", 20), sequences_waiting=2, blocks_waiting=80)
    assert stranded(queueing) == 20
    assert stranded(replace(queueing, blocks_waiting=30)) == 0, "they wait for something else"


def test_a_replica_that_takes_nothing_strands_nothing() -> None:
    leaving = replace(idle("a"), draining=True)
    assert stranded(leaving, waiting=((FORTY_BLOCKS, {}),)) == 0
