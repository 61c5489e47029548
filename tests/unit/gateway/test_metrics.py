from __future__ import annotations

from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.stream import Timing

SECOND = 1_000_000_000
TIMING = Timing(hash_ns=1, locate_ns=2, queue_ns=SECOND, first_delta_ns=4)


def test_a_request_is_counted_from_its_first_token_to_its_outcome() -> None:
    metrics = GatewayMetrics()
    metrics.started(
        TIMING, prepare_ns=5, ttft_ns=2 * SECOND, prompt_tokens=40, hit_tokens=32, attempts=2
    )
    metrics.choice_ended(tokens=11, duration_ns=SECOND)
    metrics.choice_ended(tokens=1, duration_ns=0)
    metrics.ended("ok", completion_tokens=12)
    read = metrics.registry.get_sample_value
    assert read("ttft_seconds_sum") == 2.0
    assert read("tpot_seconds_sum") == 0.1
    assert read("tpot_seconds_count") == 1, "one token has no time between tokens"
    assert read("request_stage_seconds_sum", {"stage": "queue"}) == 1.0
    assert read("prompt_tokens_total") == 40
    assert read("prompt_hit_tokens_total") == 32
    assert read("completion_tokens_total") == 12
    assert read("request_attempts_total") == 2
    assert read("requests_total", {"outcome": "ok"}) == 1


def test_two_gateways_of_one_process_do_not_mix() -> None:
    first, second = GatewayMetrics(), GatewayMetrics()
    first.ended("ok", completion_tokens=1)
    assert b'requests_total{outcome="ok"} 1.0' in first.exposition()
    assert b'outcome="ok"' not in second.exposition()
