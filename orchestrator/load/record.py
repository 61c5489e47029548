"""A run as JSON: what was asked, what it amounts to, and every request in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.load.report import Report
from orchestrator.workload.heard import Heard


def document(plan: Mapping[str, Any], summary: Report, heard: Iterable[Heard]) -> dict[str, Any]:
    """One document; times of a row are seconds from the beginning of the run."""
    return {"plan": plan, **asdict(summary), "rows": [row(one) for one in heard]}


def row(heard: Heard) -> dict[str, Any]:
    """One request, without what it said."""
    return {
        "number": heard.number,
        "tag": heard.tag,
        "class": heard.request_class,
        "end": heard.end.value,
        "code": heard.code,
        "status": heard.status,
        "due_s": round(heard.due_s, 6),
        "sent_s": round(heard.sent_s, 6),
        "first_s": None if heard.first_s is None else round(heard.first_s, 6),
        "last_s": None if heard.last_s is None else round(heard.last_s, 6),
        "ended_s": round(heard.ended_s, 6),
        "gap_s": round(heard.gap_s, 6),
        "tokens": heard.tokens,
        "prompt_tokens": heard.prompt_tokens,
        "hit_tokens": heard.hit_tokens,
        "connections": heard.connections,
    }
