"""What a gateway counts, under the names that the field uses.

Each gateway owns its registry, so that two in one process (as in tests and in
Serve) do not mix. Every label has a closed set of values.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics import Counter, Gauge, Histogram

from orchestrator.gateway.stream import Timing

CONTENT_TYPE = CONTENT_TYPE_LATEST

_NS = 1e-9
# From a cached prompt on an idle GPU to a queue that a client gives up on.
_TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# From a small model on a new GPU to one that hardly keeps up with a reader.
_TOKEN_S = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)
_STAGE_S = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)


class GatewayMetrics:
    """Counters of one gateway. Durations come in as integer nanoseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "requests_total", "Requests by outcome", ["outcome"], registry=self.registry
        )
        self.in_flight = Gauge(
            "requests_in_flight", "Requests not yet ended", registry=self.registry
        )
        self._ttft = Histogram(
            "ttft_seconds", "Arrival to first token", buckets=_TTFT_S, registry=self.registry
        )
        self._tpot = Histogram(
            "tpot_seconds",
            "Mean time for each token after the first, by choice",
            buckets=_TOKEN_S,
            registry=self.registry,
        )
        self._stages = Histogram(
            "request_stage_seconds",
            "Where the time to the first token went",
            ["stage"],
            buckets=_STAGE_S,
            registry=self.registry,
        )
        self._prompt_tokens = Counter(
            "prompt_tokens_total", "Tokens of started prompts", registry=self.registry
        )
        self._hit_tokens = Counter(
            "prompt_hit_tokens_total", "Of those, found in a prefix cache", registry=self.registry
        )
        self._completion_tokens = Counter(
            "completion_tokens_total", "Tokens generated", registry=self.registry
        )
        self._attempts = Counter(
            "request_attempts_total", "Replicas tried by started requests", registry=self.registry
        )

    def started(
        self,
        timing: Timing,
        *,
        prepare_ns: int,
        ttft_ns: int,
        prompt_tokens: int,
        hit_tokens: int,
        attempts: int,
    ) -> None:
        """The first token is here."""
        self._ttft.observe(ttft_ns * _NS)
        for stage, duration_ns in (
            ("prepare", prepare_ns),
            ("hash", timing.hash_ns),
            ("locate", timing.locate_ns),
            ("queue", timing.queue_ns),
            ("first_delta", timing.first_delta_ns),
        ):
            self._stages.labels(stage).observe(duration_ns * _NS)
        self._prompt_tokens.inc(prompt_tokens)
        self._hit_tokens.inc(hit_tokens)
        self._attempts.inc(attempts)

    def choice_ended(self, *, tokens: int, duration_ns: int) -> None:
        """`duration_ns` from the choice's first token to its last."""
        if tokens > 1:
            self._tpot.observe(duration_ns * _NS / (tokens - 1))

    def ended(self, outcome: str, *, completion_tokens: int) -> None:
        """`outcome` is "ok", "client_gone", "failed" or the code of a GatewayError."""
        self._requests.labels(outcome).inc()
        self._completion_tokens.inc(completion_tokens)

    def exposition(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)
