"""What a replica did, as spans below its gateway's or as a line: queue, prefill, decode, move."""

from __future__ import annotations

from typing import Any

from protos.logs import fields
from protos.messages import ReplicaId, Request, RequestId
from protos.moves import MoveReport
from protos.trace import Span, Value, parse_traceparent
from replicas.shell.link import Ticket

NS_PER_MS = 1_000_000


def spans_of(ticket: Ticket, replica_id: ReplicaId, outcome: str) -> tuple[Span, ...]:
    """Of a choice that has ended here; none where nobody traces it."""
    parent = parse_traceparent(ticket.request.traceparent)
    stint = ticket.stint
    if parent is None or not parent.is_sampled or stint.ended_ns is None:
        return ()
    own = parent.child(replica_id, ticket.inner, ticket.choice)
    common = _common(ticket.request_id, ticket.choice, replica_id) | {"outcome": outcome}
    of_its_own: dict[str, dict[str, Value]] = {
        "prefill": {"chunks": stint.chunks, "hit_tokens": ticket.hit_tokens},
        "decode": {"tokens": len(ticket.said), "preemptions": stint.preemptions},
    }
    return tuple(
        Span(
            name,
            own.child(name),
            parent.span_id,
            began_ns,
            ended_ns,
            common | of_its_own.get(name, {}),
            tuple(moment for moment in stint.moments if began_ns <= moment[0] < ended_ns),
        )
        for name, began_ns, ended_ns in stint.stretches(stint.ended_ns)
    )


def about(ticket: Ticket, outcome: str) -> dict[str, Any]:
    """What a log line says of a choice that has ended here. Never its words."""
    trace, stint = parse_traceparent(ticket.request.traceparent), ticket.stint
    account = stint.account(stint.came_ns)
    return fields(
        request_id=ticket.request_id,
        trace_id=None if trace is None else trace.trace_id,
        choice=ticket.choice,
        outcome=outcome,
        tokens=len(ticket.said),
        hit_tokens=ticket.hit_tokens,
        queue_ms=account.queue_ns / NS_PER_MS,
        prefill_ms=account.prefill_ns / NS_PER_MS,
        decode_ms=account.decode_ns / NS_PER_MS,
        chunks=account.chunks,
        preemptions=account.preemptions,
    )


def migration_span(
    request: Request, source: ReplicaId, report: MoveReport, ended_ns: int
) -> tuple[Span, ...]:
    """Of a move that has ended, seen from its source; none where nobody traces the request."""
    parent = parse_traceparent(request.traceparent)
    if parent is None or not parent.is_sampled:
        return ()
    more: dict[str, Value] = {
        "outcome": report.outcome.value,
        "target": report.target or "",
        "blocks_sent": report.blocks_sent,
        "blocks_shared": report.blocks_shared,
        "bytes_sent": report.bytes_sent,
        "frozen_ms": report.frozen_ns / NS_PER_MS,
    }
    own = parent.child("migration", report.move_id)
    common = _common(request.request_id, request.first_choice, source)
    began_ns = ended_ns - report.total_ns
    return (Span("migration", own, parent.span_id, began_ns, ended_ns, common | more),)


def _common(request_id: RequestId, choice: int, replica_id: ReplicaId) -> dict[str, Value]:
    return {"request_id": request_id, "choice": choice, "replica": replica_id}
