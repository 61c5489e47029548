"""Arrivals become prompts that share what their ids share, at the right time."""

from __future__ import annotations

from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.synthetic import SYSTEM_PROMPT_IDS, WORKLOADS, synthesize
from orchestrator.workload.traffic import Arrival, Traffic, merged


def arrival(
    number: int, *, at_s: float = 0, ids: tuple[int, ...] = (), tokens: int = 40
) -> Arrival:
    return Arrival(number, round(at_s * NS_PER_S), tokens, 5, ids)


def prompt(asked: Arrival) -> tuple[int, ...]:
    return asked.request(16).prompt


def test_equal_ids_make_equal_tokens_and_the_rest_is_unique() -> None:
    first, second = prompt(arrival(1, ids=(7, 8))), prompt(arrival(2, ids=(7, 8)))
    assert first[:32] == second[:32]
    assert first[32:] != second[32:]
    assert len(first) == len(second) == 40


def test_a_partial_last_block_is_cut() -> None:
    whole, part = prompt(arrival(1, ids=(7, 8, 9), tokens=48)), prompt(arrival(2, ids=(7, 8, 9)))
    assert part == whole[:40]


def test_prompts_without_ids_share_nothing() -> None:
    assert prompt(arrival(1, tokens=9000))[:16] != prompt(arrival(2, tokens=9000))[:16]


def test_a_request_generates_exactly_what_the_trace_says() -> None:
    sampling = arrival(3).request(16).sampling
    assert sampling.tokens_max == 5
    assert sampling.stop_token_ids == ()


def test_speed_compresses_time() -> None:
    traffic = Traffic((arrival(0, at_s=1), arrival(1, at_s=4)), 16).faster(2)
    assert [a.arrival_ns for a in traffic.arrivals] == [NS_PER_S // 2, 2 * NS_PER_S]
    assert traffic.seconds == 2


def test_spreading_keeps_each_arrival_in_its_tick_and_all_in_order() -> None:
    ticks = tuple(arrival(number, at_s=3 * (number // 10)) for number in range(40))
    spread = Traffic(ticks, 16, tick_ms=3000).spread(0).arrivals
    times = [a.arrival_ns for a in spread]
    assert times == sorted(times)
    assert len(set(times)) == 40
    assert all(a.arrival_ns // NS_PER_S // 3 == a.number // 10 for a in spread)
    assert spread == Traffic(ticks, 16, tick_ms=3000).spread(0).arrivals
    assert spread != Traffic(ticks, 16, tick_ms=3000).spread(1).arrivals


def test_merged_workloads_are_numbered_by_time() -> None:
    both = merged([[arrival(0, at_s=2)], [arrival(0, at_s=1), arrival(0, at_s=3)]])
    assert [(a.number, a.arrival_ns // NS_PER_S) for a in both] == [(0, 1), (1, 2), (2, 3)]


def test_every_synthetic_workload_follows_from_its_seed() -> None:
    for name in WORKLOADS:
        assert synthesize(name, 1) == synthesize(name, 1)
        assert synthesize(name, 1) != synthesize(name, 2)


def test_all_chats_begin_with_the_system_prompt() -> None:
    requests = [a.request(16) for a in synthesize("chat", 0).arrivals]
    shared = 16 * len(SYSTEM_PROMPT_IDS)
    assert len({request.prompt[:shared] for request in requests}) == 1
    assert len({request.prompt for request in requests}) == len(requests)


def test_a_spike_is_ten_times_as_fast() -> None:
    chats = [a.arrival_ns / NS_PER_S for a in synthesize("spike", 0).arrivals if a.tag == "A"]
    inside = sum(20 <= at < 30 for at in chats) / 10
    outside = sum(not 20 <= at < 30 for at in chats) / 50
    assert 8 < inside / outside < 12
