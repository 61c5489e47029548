"""A request's record as spans: the request itself, its stages, its placements, its attempts.

Everything is taken from the record once it has ended, so tracing costs the
request path nothing and cannot disagree with `blockyard explain`. Below an
attempt's span stand those that its replica makes of its own times.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.gateway.record import Happened, Placed, Record
from orchestrator.gateway.stretches import Attempt, AttemptEnd
from protos.trace import Span, TraceContext, Value

OK = "ok"
FAILURES = frozenset({AttemptEnd.REFUSED, AttemptEnd.LOST})


def spans_of(record: Record) -> tuple[Span, ...]:
    """Of a request that has ended; none where nobody traces it."""
    trace, ended_ns = record.trace, record.ended_ns
    if trace is None or not trace.is_sampled or ended_ns is None:
        return ()
    return (
        _request(record, trace, ended_ns),
        *_stages(record, trace, ended_ns),
        *_routes(record, trace),
        *(
            span
            for attempt in record.attempts
            for span in _attempt(record, trace, attempt, ended_ns)
        ),
    )


def _request(record: Record, trace: TraceContext, ended_ns: int) -> Span:
    attributes: dict[str, Value] = {
        "request_id": record.request_id,
        "class": record.request_class.value,
        "outcome": record.outcome or "",
        "prompt_tokens": record.prompt_tokens,
        "hit_tokens": record.hit_tokens,
        "completion_tokens": record.completion_tokens,
        "choices": record.choices,
    }
    if record.tenant:
        attributes["tenant"] = record.tenant
    happened = [
        (event.at_ns, event.what.value) for event in record.events if isinstance(event, Happened)
    ]
    if record.first_token_ns is not None:
        happened.append((record.first_token_ns, "first token"))
    return Span(
        "request",
        trace,
        record.trace_parent,
        record.began_ns,
        ended_ns,
        attributes,
        tuple(sorted(happened, key=lambda moment: moment[0])),
        is_error=record.outcome != OK,
        is_root=True,
    )


def _stages(record: Record, trace: TraceContext, ended_ns: int) -> Iterator[Span]:
    for number, stretch in enumerate(record.stretches):
        name = stretch.stage.value
        attributes: dict[str, Value] = {"choice": stretch.choice}
        if stretch.detail:
            attributes["detail"] = stretch.detail
        if stretch.reasons:
            attributes["waited_for"] = ", ".join(stretch.reasons)
        until_ns = ended_ns if stretch.ended_ns is None else stretch.ended_ns
        context = trace.child(name, number)
        yield Span(name, context, trace.span_id, stretch.began_ns, until_ns, attributes)


def _routes(record: Record, trace: TraceContext) -> Iterator[Span]:
    """A choice of replica takes no time to speak of; its span says what it was made of."""
    placed = [event for event in record.events if isinstance(event, Placed)]
    for number, event in enumerate(placed):
        placement = event.look.placement
        attributes: dict[str, Value] = {
            "choice": event.choice,
            "replica": placement.replica_id,
            "reason": placement.reason.value,
            "hit_blocks": placement.hit_blocks,
            "blocks": placement.blocks,
            "cost_s": placement.cost.total_s,
            "candidates": len(event.look.view.accepting),
        }
        context = trace.child("route", number)
        yield Span("route", context, trace.span_id, event.at_ns, event.at_ns, attributes)


def _attempt(
    record: Record, trace: TraceContext, attempt: Attempt, ended_ns: int
) -> Iterator[Span]:
    """At one replica: until its first word, and as a whole."""
    own = record.trace_of(attempt, trace)
    attributes: dict[str, Value] = {
        "request_id": record.request_id,
        "choice": attempt.choice,
        "replica": attempt.replica_id,
        "end": "" if attempt.end is None else attempt.end.value,
    }
    until_ns = ended_ns if attempt.ended_ns is None else attempt.ended_ns
    failed = attempt.end in FAILURES
    yield Span(
        "attempt", own, trace.span_id, attempt.began_ns, until_ns, attributes, is_error=failed
    )
    if attempt.spoke_ns is not None:
        first = own.child("first token")
        yield Span("first token", first, own.span_id, attempt.began_ns, attempt.spoke_ns)
