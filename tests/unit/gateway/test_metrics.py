from __future__ import annotations

from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.stream import Timing
from protos.messages import RequestClass

SECOND = 1_000_000_000
TIMING = Timing(
    hash_ns=1,
    locate_ns=2,
    queue_ns=SECOND,
    first_delta_ns=SECOND,
    replica_queue_ns=SECOND // 4,
)
AGENT = RequestClass.AGENT


def value(metrics: GatewayMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"blockyard_{name}", labels)


def of_agents(metrics: GatewayMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"blockyard_{name}", {"class": "agent"})


def started(metrics: GatewayMetrics) -> None:
    metrics.started(
        TIMING, AGENT, prepare_ns=5, ttft_ns=2 * SECOND, prompt_tokens=40, hit_tokens=32, attempts=2
    )


def test_a_request_is_counted_from_its_first_token_to_its_outcome() -> None:
    metrics = GatewayMetrics()
    started(metrics)
    of_class = metrics.of(AGENT)
    of_class.tokens_came(11, since_ns=None, now_ns=0)
    of_class.tokens_came(1, since_ns=0, now_ns=SECOND // 4)
    of_class.choice_ended(tokens=11, duration_ns=SECOND)
    of_class.choice_ended(tokens=1, duration_ns=0)
    metrics.ended("ok", AGENT, e2e_ns=3 * SECOND)
    assert of_agents(metrics, "time_to_first_token_seconds_sum") == 2.0
    assert of_agents(metrics, "time_per_output_token_seconds_sum") == 0.1
    assert of_agents(metrics, "time_per_output_token_seconds_count") == 1, (
        "one token has no time between tokens"
    )
    assert of_agents(metrics, "inter_token_latency_seconds_sum") == 0.25
    assert of_agents(metrics, "inter_token_latency_seconds_count") == 1, "the first has none before"
    assert of_agents(metrics, "request_queue_time_seconds_sum") == 1.25
    assert of_agents(metrics, "request_prefill_time_seconds_sum") == 0.75
    assert of_agents(metrics, "request_decode_time_seconds_sum") == 1.0
    assert of_agents(metrics, "e2e_request_latency_seconds_sum") == 3.0
    assert of_agents(metrics, "prompt_tokens_total") == 40
    assert of_agents(metrics, "generation_tokens_total") == 12
    assert value(metrics, "request_stage_seconds_sum", stage="queue") == 1.0
    assert value(metrics, "request_stage_seconds_sum", stage="replica_queue") == 0.25
    assert value(metrics, "request_stage_seconds_sum", stage="first_delta") == 0.75
    assert value(metrics, "prefix_cache_queries_total") == 40
    assert value(metrics, "prefix_cache_hits_total") == 32
    assert value(metrics, "request_attempts_total") == 2
    assert value(metrics, "requests_total", **{"outcome": "ok", "class": "agent"}) == 1


def test_classes_do_not_mix() -> None:
    metrics = GatewayMetrics()
    started(metrics)
    name, other = "blockyard_time_to_first_token_seconds_count", {"class": "interactive"}
    assert metrics.registry.get_sample_value(name, other) == 0


def test_an_answer_that_did_not_come_to_its_end_has_no_latency() -> None:
    metrics = GatewayMetrics()
    metrics.ended("client_gone", AGENT, e2e_ns=SECOND)
    assert of_agents(metrics, "e2e_request_latency_seconds_count") == 0


def test_two_gateways_of_one_process_do_not_mix() -> None:
    first, second = GatewayMetrics(), GatewayMetrics()
    first.ended("ok", AGENT, e2e_ns=0)
    assert b'blockyard_requests_total{class="agent",outcome="ok"} 1.0' in first.exposition()
    assert b'blockyard_requests_total{class="agent",outcome="ok"} 0.0' in second.exposition()
