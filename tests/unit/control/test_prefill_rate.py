"""What reports say of how fast prompts are computed, short ones and long ones."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.control.prefill_rate import FleetRate, PrefillRate, fleet_rate
from protos.messages import Snapshot
from tests.unit.control.reports import report

START = report()
TOKENS = 2_000  # of a step
CONTEXTS = (0, 1_000, 8_000, 30_000, 90_000)  # before each token of it


def after(earlier: Snapshot, *, ns: int, tokens: int, context: int) -> Snapshot:
    return replace(
        earlier,
        number=earlier.number + 1,
        full_ns=earlier.full_ns + ns,
        full_prefill_tokens=earlier.full_prefill_tokens + tokens,
        full_prefill_context=earlier.full_prefill_context + context,
    )


def measured(
    token_ns: float, doubles_at: float, contexts: list[int], noise: float = 0
) -> FleetRate:
    """One replica, on which a token costs twice as much behind so many others."""
    random = Random(0)
    rate, earlier = PrefillRate(), START
    for context in contexts:
        ns = TOKENS * token_ns * (1 + context / doubles_at) * (1 + random.uniform(-noise, noise))
        later = after(earlier, ns=round(ns), tokens=TOKENS, context=TOKENS * context)
        rate.observe(earlier, later)
        earlier = later
    fleet = fleet_rate([rate])
    assert fleet is not None
    return fleet


def test_nothing_is_known_before_somebody_was_busy() -> None:
    idle = PrefillRate()
    idle.observe(START, after(START, ns=0, tokens=0, context=0))
    assert fleet_rate([]) is None
    assert fleet_rate([idle]) is None


def test_the_price_of_context_is_learned() -> None:
    fleet = measured(50_000, 60_000, [*CONTEXTS] * 20)
    assert fleet.context_weight == pytest.approx(1 / 60_000, rel=0.1)
    assert fleet.work_per_s == pytest.approx(20_000, rel=0.1)


def test_it_is_learned_from_steps_that_carry_other_work_too() -> None:
    fleet = measured(50_000, 60_000, [*CONTEXTS] * 40, noise=0.3)
    assert fleet.context_weight == pytest.approx(1 / 60_000, rel=0.25)


def test_prompts_that_are_all_alike_say_nothing_of_context() -> None:
    fleet = measured(50_000, 60_000, [1_000] * 100, noise=0.3)
    assert fleet.context_weight < 1 / 600_000
    assert fleet.work_per_s == pytest.approx(20_000, rel=0.1)


def test_long_prompts_that_are_no_slower_cost_nothing_more() -> None:
    assert measured(50_000, 1e12, [*CONTEXTS] * 20).context_weight == pytest.approx(0, abs=1e-9)
    faster = measured(50_000, -200_000, [*CONTEXTS] * 20)
    assert faster.context_weight == 0


def test_a_replica_is_believed_to_be_slow_once_it_was_slow_for_long() -> None:
    fleet = FleetRate(work_per_s=20_000, context_weight=0.0)
    slow, earlier = PrefillRate(), START
    believed = [slow.among(fleet)]
    for _ in range(3):
        later = after(earlier, ns=20_000_000_000, tokens=200_000, context=0)
        slow.observe(earlier, later)
        earlier = later
        believed.append(slow.among(fleet))
    assert believed[0] == 20_000
    assert believed == sorted(believed, reverse=True)
    assert 10_000 < believed[-1] < 15_000


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**10), st.integers(1, 10**5), st.floats(0, 10**5)),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_was_measured_a_rate_is_positive(steps: list[tuple[int, int, float]]) -> None:
    rate, earlier = PrefillRate(), START
    for ns, tokens, context in steps:
        later = after(earlier, ns=ns, tokens=tokens, context=round(tokens * context))
        rate.observe(earlier, later)
        earlier = later
    fleet = fleet_rate([rate])
    assert fleet is not None
    assert fleet.work_per_s > 0 <= fleet.context_weight
    assert rate.among(fleet) > 0
