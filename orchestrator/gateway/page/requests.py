"""The requests of the page's table: those that have not ended, then the latest that have.

What a request is doing is one of four words. A client's name of a request and
its tenant are shown as they were given; the page takes them for text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.gateway.record import Placed, Record
from protos.messages import ReplicaId

OPEN_MAX = 40  # not ended, the newest first
ENDED_MAX = 40


def requests_of(records: Sequence[Record], now_ns: int) -> list[dict[str, Any]]:
    """Of `records`, the newest first."""
    unended = [record for record in records if record.ended_ns is None]
    ended = [record for record in records if record.ended_ns is not None]
    ended.sort(key=lambda record: record.ended_ns or 0, reverse=True)
    shown = (*unended[:OPEN_MAX], *ended[:ENDED_MAX])
    return [request_of(record, now_ns) for record in shown]


def request_of(record: Record, now_ns: int) -> dict[str, Any]:
    """One row."""
    return {
        "request_id": record.request_id,
        "class": record.request_class.value,
        "tenant": record.tenant,
        "phase": phase(record),
        "outcome": record.outcome,
        "replica": record.replica_id or place(record),
        "reason": record.reason,
        "age_ms": ms(now_ns - record.began_ns),
        "ended_ms": None if record.ended_ns is None else ms(now_ns - record.ended_ns),
        "ttft_ms": ttft_ms(record),
        "tpot_ms": tpot_ms(record, now_ns),
        "prompt_tokens": record.prompt_tokens,
        "hit_tokens": record.hit_tokens,
        "completion_tokens": record.completion_tokens,
    }


def phase(record: Record) -> str:
    """What it is doing: `waiting` for a place, `prefill`, `decode`, or nothing any more."""
    if record.ended_ns is not None:
        return "ended"
    if record.first_token_ns is not None:
        return "decode"
    return "waiting" if record.reason is None else "prefill"


def place(record: Record) -> ReplicaId | None:
    """Where it was sent last, whether or not that replica has answered."""
    placed = [event for event in record.events if isinstance(event, Placed)]
    return placed[-1].look.placement.replica_id if placed else None


def ttft_ms(record: Record) -> float | None:
    """From its arrival to its first token."""
    if record.first_token_ns is None:
        return None
    return ms(record.first_token_ns - record.began_ns)


def tpot_ms(record: Record, now_ns: int) -> float | None:
    """Mean time of a token after the first one; of a running request until now."""
    later = record.completion_tokens - record.choices
    if record.first_token_ns is None or later < 1:
        return None
    until_ns = now_ns if record.ended_ns is None else record.ended_ns
    # Choices are written side by side.
    return ms((until_ns - record.first_token_ns) * record.choices // later)


def ms(duration_ns: int) -> float:
    return round(duration_ns / 1_000_000, 2)
