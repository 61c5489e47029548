"""The figures of a report, from a history written down by hand."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.policy.route import RouteReason
from orchestrator.sim.client import Answered, Refused
from orchestrator.sim.report import report, trace_hash
from orchestrator.sim.world import History, WorldConfig
from orchestrator.workload.quantiles import percentile
from protos.messages import EngineCounters, FinishReason, ReplicaId, Snapshot

S = 1_000_000_000
ANSWER = Answered(
    number=0,
    tag="A",
    replica_id=ReplicaId("a"),
    attempts=1,
    arrival_ns=S,
    first_ns=2 * S,
    last_ns=4 * S,
    prompt_tokens=40,
    hit_tokens=16,
    tokens=(1, 2, 3),
    finish=FinishReason.LENGTH,
)
SNAPSHOT = Snapshot(
    replica_id=ReplicaId("a"),
    epoch=1,
    number=1,
    blocks_total=10,
    blocks_free=10,
    blocks_cached=0,
    blocks_used=0,
    sequences_running=0,
    sequences_waiting=0,
    prefill_tokens_waiting=0,
    blocks_waiting=0,
    draining=False,
    step_ns=1,
    counters=EngineCounters(steps=7, preemptions=2, recomputed_tokens=30),
)
HISTORY = History(
    config=WorldConfig(),
    outcomes=(
        ANSWER,
        replace(ANSWER, number=1, tag="B", first_ns=4 * S, tokens=(1,), hit_tokens=32),
        Refused(2, "A", S, S, "queue_full"),
    ),
    snapshots=(SNAPSHOT, SNAPSHOT),
    busy_ns=(3 * S, S),
    placed={RouteReason.LOAD: 2},
    copied_blocks=4,
    messages=6,
    moves=0,
    ended_ns=9 * S,
)


def test_every_figure_is_what_its_name_says() -> None:
    summary = report(HISTORY, wall_s=2.0)
    assert (summary.requests, summary.completed, summary.refused) == (3, 2, 1)
    assert summary.refused_by_code == {"queue_full": 1}
    assert summary.placed_by_reason == {"load": 2}
    assert summary.hit_blocks_ratio == 3 / 6
    assert summary.ttft_s == {"p50": 1, "p90": 3, "p99": 3, "mean": 2}
    assert summary.ttft_s_by_tag["B"]["p50"] == 3
    assert summary.tpot_s == {"p50": 1, "p99": 1}
    assert summary.imbalance == 1.5
    assert (summary.recomputed_tokens, summary.preemptions, summary.copied_blocks) == (60, 4, 4)
    assert (summary.events, summary.events_per_s) == (20, 10)


def test_a_run_without_answers_has_a_report_too() -> None:
    nothing = replace(HISTORY, outcomes=(), busy_ns=(0, 0))
    assert report(nothing, wall_s=1.0).ttft_s == {}


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile([1, 2, 3, 4], p) for p in (1, 25, 50, 51, 99)] == [1, 1, 2, 3, 4]


def test_any_difference_changes_the_hash() -> None:
    later = replace(HISTORY, outcomes=(replace(ANSWER, last_ns=4 * S + 1), *HISTORY.outcomes[1:]))
    swapped = replace(HISTORY, outcomes=HISTORY.outcomes[::-1])
    assert len({trace_hash(history) for history in (HISTORY, later, swapped)}) == 3
