"""The rules say yes and no: a symptom that is not there is not claimed."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.sim.incident.figures import FailureFigures, ModelFigures, PhaseFigures
from orchestrator.sim.incident.symptoms import cure, free_but_out_of_memory, slow_start, trade

CALM = PhaseFigures(
    requests=100,
    admitted=100,
    agents=10,
    agent_failures=0,
    chat_failures=0,
    ttft_s={"p50": 0.05, "p99": 0.2},
    ttft_s_chat={"p50": 0.05, "p99": 0.2},
    ttft_s_agents={"p50": 0.05, "p99": 0.2},
    tpot_s={"p50": 0.010, "p99": 0.02},
    goodput=5.0,
    free=0.5,
    internal_fragmentation=0.1,
    external_fragmentation=0.5,
    sequences=9.0,
)
FAILURE = FailureFigures(
    request="r1",
    kind="B",
    phase="spike",
    at_s=1.0,
    asked=5000,
    free=16_000,
    free_share=0.25,
    largest_hole=3000,
    enough_was_free=True,
)


def model(
    *, ttft: float = 0.05, tpot: float = 0.010, failed: int = 0, free: float = 0.25
) -> ModelFigures:
    spike = replace(CALM, ttft_s={"p50": ttft}, tpot_s={"p50": tpot}, agent_failures=failed)
    return ModelFigures(
        model="m",
        before=CALM,
        spike=spike,
        after=CALM,
        failures=(FAILURE,) * failed,
        free_share_at_agent_failures={"p0": free, "p50": free, "p100": free} if failed else {},
        preemptions=0,
        steps=1,
        ended_s=1.0,
    )


def test_a_slow_start_needs_ttft_up_and_tpot_nearly_flat() -> None:
    assert slow_start(model(ttft=0.5, tpot=0.012)).appears
    assert not slow_start(model(ttft=0.06, tpot=0.012)).appears
    assert not slow_start(model(ttft=0.5, tpot=0.030)).appears


def test_out_of_memory_needs_failures_at_about_a_quarter_free() -> None:
    assert free_but_out_of_memory(model(failed=3)).appears
    assert not free_but_out_of_memory(model(failed=3, free=0.05)).appears
    assert free_but_out_of_memory(model()).evidence == "no agent failed"
    assert not free_but_out_of_memory(model()).appears


def test_out_of_memory_needs_most_failures_to_be_for_want_of_one_piece() -> None:
    short = replace(FAILURE, free=4000, enough_was_free=False)
    half = replace(model(failed=4), failures=(FAILURE, FAILURE, short, short))
    most = replace(model(failed=3), failures=(FAILURE, FAILURE, short))
    assert not free_but_out_of_memory(half).appears
    assert free_but_out_of_memory(most).appears


def test_a_trade_needs_both_sides() -> None:
    assert trade(model(ttft=2.0, failed=1), model(ttft=0.5, failed=3)).appears
    assert not trade(model(ttft=0.4, failed=1), model(ttft=0.5, failed=3)).appears
    assert not trade(model(ttft=2.0, failed=4), model(ttft=0.5, failed=3)).appears


def test_a_cure_needs_no_failure_and_a_ttft_five_times_shorter() -> None:
    sick = model(ttft=0.5, failed=3)
    assert cure(sick, model(ttft=0.06)).appears
    assert not cure(sick, model(ttft=0.12)).appears
    assert not cure(sick, model(ttft=0.06, failed=1)).appears


def test_a_phase_in_which_nobody_was_answered_shows_nothing() -> None:
    silent = replace(model(ttft=9.0), spike=replace(CALM, ttft_s={}, tpot_s={}))
    assert not slow_start(silent).appears
    assert not trade(model(), silent).appears
    assert not cure(model(ttft=9.0), silent).appears
