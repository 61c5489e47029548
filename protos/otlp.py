"""Spans of one process, on their way to an OpenTelemetry collector.

Off unless the environment names one (OTEL_EXPORTER_OTLP_ENDPOINT and the other
variables that OpenTelemetry defines, among them those of sampling and of the
batches). Handing a span over only puts it into a bounded queue; a thread of the
SDK sends it. A collector that is slow or away costs spans, never a request.

Ids and times are the span's own: nothing is read from a thread's or a task's
context. Our times are of the monotonic clock; the date is added here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from threading import Thread

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from protos.trace import UNTRACED, Span, TraceContext, Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CLOSE_S = 2.0  # for the last spans of a process that stops
READINGS = 3  # of both clocks, for one date

_SCOPE = InstrumentationScope("blockyard")


class Telemetry:
    """What a process tells of its spans. Closed once, when nothing more ends."""

    def __init__(self, service: str, instance: str) -> None:
        """`service` is what it is, unless the environment says; `instance` which one."""
        self.tracing = UNTRACED
        self._processor: BatchSpanProcessor | None = None
        if not is_wanted():
            return
        named = {"service.instance.id": instance}
        if "OTEL_SERVICE_NAME" not in os.environ:
            named["service.name"] = f"blockyard-{service}"
        self._resource = Resource.create(named)
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self.tracing = Tracing(self._export, self._samples)

    async def close(self) -> None:
        """Send what is left, for a moment."""
        if self._processor is not None:
            # A thread that does not hold up the process where the collector does not answer.
            closing = Thread(target=self._processor.shutdown, daemon=True)
            closing.start()
            await asyncio.to_thread(closing.join, CLOSE_S)

    def _export(self, spans: Sequence[Span]) -> None:
        assert self._processor is not None, "tracing is on"
        # Put aside between two readings, a thread finds the difference too small, never too great.
        offset_ns = max(time.time_ns() - time.monotonic_ns() for _ in range(READINGS))
        for span in spans:
            self._processor.on_end(readable(span, self._resource, offset_ns=offset_ns))

    def _samples(self, trace_id: str) -> bool:
        sampled = self._sampler.should_sample(None, int(trace_id, 16), "request")
        return sampled.decision is Decision.RECORD_AND_SAMPLE


def is_wanted() -> bool:
    """Whether the environment names a collector."""
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_disabled and any(os.environ.get(name) for name in ENDPOINTS)


def readable(span: Span, resource: Resource, *, offset_ns: int) -> ReadableSpan:
    """As the SDK's exporters have it."""
    return ReadableSpan(
        name=span.name,
        context=_context(span.context),
        parent=None if span.parent_id is None else _parent(span, span.parent_id),
        resource=resource,
        attributes={f"blockyard.{name}": value for name, value in span.attributes.items()},
        events=[Event(what, timestamp=at_ns + offset_ns) for at_ns, what in span.events],
        kind=SpanKind.SERVER if span.is_root else SpanKind.INTERNAL,
        instrumentation_scope=_SCOPE,
        status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET),
        start_time=span.began_ns + offset_ns,
        end_time=span.ended_ns + offset_ns,
    )


def _context(context: TraceContext) -> SpanContext:
    flags = TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT
    trace_id, span_id = int(context.trace_id, 16), int(context.span_id, 16)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))


def _parent(span: Span, parent_id: str) -> SpanContext:
    parent = TraceContext(span.context.trace_id, parent_id, span.context.is_sampled)
    return _context(parent)
