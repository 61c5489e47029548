"""What a gateway counts of its requests, under the names that the field uses.

Names are vLLM's where vLLM has the same thing, after `blockyard_`; deploy/METRICS.md
lists all. Counts are plain integers, and become metrics when somebody asks for
them, so that a token costs no more than an addition. Every label has a closed
set of values.

Each gateway owns its registry, so that two in one process (as in tests and in
Serve) do not mix. Durations come in as integer nanoseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from orchestrator.control.durations import Durations
from orchestrator.gateway.class_metrics import ClassMetrics
from orchestrator.gateway.refusals import REPLICA_LOST
from orchestrator.gateway.stream import Timing
from protos.messages import RequestClass

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "blockyard_"

OK, CLIENT_GONE, FAILED = "ok", "client_gone", "failed"
# From the start on, so that the first failure is a rise and not a first sight: all that
# alerts name. Another error's code is there from its first time on.
_OUTCOMES = (OK, CLIENT_GONE, FAILED, REPLICA_LOST)
_STAGE_S = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_STAGES = ("prepare", "hash", "locate", "queue", "replica_queue", "first_delta")


class GatewayMetrics(Collector):
    """Counters of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = 0  # requests not yet ended
        self._by_class = {each: ClassMetrics() for each in RequestClass}
        self._outcomes = Counter({(each, of.value): 0 for each in _OUTCOMES for of in RequestClass})
        self._stages = {stage: Durations(_STAGE_S) for stage in _STAGES}
        self._hit_tokens = 0
        self._attempts = 0
        self.registry.register(self)

    def of(self, request_class: RequestClass) -> ClassMetrics:
        """What is told for each class apart."""
        return self._by_class[request_class]

    def started(
        self,
        timing: Timing,
        request_class: RequestClass,
        *,
        prepare_ns: int,
        ttft_ns: int,
        prompt_tokens: int,
        hit_tokens: int,
        attempts: int,
    ) -> None:
        """The first token is here."""
        self.of(request_class).started(timing, ttft_ns=ttft_ns, prompt_tokens=prompt_tokens)
        self._stages["prepare"].observe(prepare_ns)
        self._stages["hash"].observe(timing.hash_ns)
        self._stages["locate"].observe(timing.locate_ns)
        self._stages["queue"].observe(timing.queue_ns)
        self._stages["replica_queue"].observe(timing.replica_queue_ns)
        self._stages["first_delta"].observe(timing.first_delta_ns - timing.replica_queue_ns)
        self._hit_tokens += hit_tokens
        self._attempts += attempts

    def ended(self, outcome: str, request_class: RequestClass, *, e2e_ns: int) -> None:
        """`outcome` is OK, CLIENT_GONE, FAILED or the code of a GatewayError."""
        self._outcomes[outcome, request_class.value] += 1
        if outcome == OK:
            self.of(request_class).answered(e2e_ns)

    def exposition(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        """Everything counted so far."""
        requests = _counter("requests", "Requests by outcome", "outcome", "class")
        for labels, count in sorted(self._outcomes.items()):
            requests.add_metric(labels, count)
        yield requests
        yield GaugeMetricFamily(
            f"{PREFIX}requests_in_flight", "Requests not yet ended", self.in_flight
        )
        stages = HistogramMetricFamily(
            f"{PREFIX}request_stage_seconds",
            "Where the time to the first token went",
            labels=["stage"],
        )
        for stage, durations in self._stages.items():
            stages.add_metric([stage], durations.buckets, durations.total_s)
        yield stages
        prompt_tokens = {name: one.prompt_tokens for name, one in self._by_class.items()}
        yield CounterMetricFamily(
            f"{PREFIX}prefix_cache_queries",
            "Prompt tokens looked for in a prefix cache",
            sum(prompt_tokens.values()),
        )
        yield CounterMetricFamily(
            f"{PREFIX}prefix_cache_hits", "Of those, found there", self._hit_tokens
        )
        yield CounterMetricFamily(
            f"{PREFIX}request_attempts", "Replicas tried by started requests", self._attempts
        )
        yield _by_class("prompt_tokens", "Tokens of started prompts", prompt_tokens)
        yield _by_class(
            "generation_tokens",
            "Tokens generated",
            {name: one.generation_tokens for name, one in self._by_class.items()},
        )
        for name, help_text in ClassMetrics.DURATIONS.items():
            family = HistogramMetricFamily(f"{PREFIX}{name}", help_text, labels=["class"])
            for request_class, metrics in self._by_class.items():
                durations = metrics.durations[name]
                family.add_metric([request_class.value], durations.buckets, durations.total_s)
            yield family


def _counter(name: str, help_text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}{name}", help_text, labels=labels)


def _by_class(name: str, help_text: str, counts: Mapping[RequestClass, int]) -> CounterMetricFamily:
    family = _counter(name, help_text, "class")
    for request_class, count in counts.items():
        family.add_metric([request_class.value], count)
    return family
