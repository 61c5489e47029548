"""What the page draws, as one JSON document: the cluster now, and this gateway's last minutes.

The replicas are what every gateway knows of them: their newest reports and
the blocks that this gateway has promised since. Requests, moves and durations
are read from this gateway's own records. Everything in it is a size, a time, a
place, a reason or a name; there are no prompts to leave out.

However many look, it is put together at most once in so many milliseconds, and
it is bounded: so many requests, moves and stretches of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.control.seams import Clock
from orchestrator.gateway.decisions import Decisions
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.fleet import Fleet
from orchestrator.gateway.page.moves import moves_of
from orchestrator.gateway.page.pace import pace_of
from orchestrator.gateway.page.requests import requests_of
from orchestrator.gateway.record import Record
from orchestrator.policy.view import ReplicaView
from protos.messages import RequestClass, Snapshot

KEPT_NS = 800_000_000  # a page asks once a second; many ask at any moment
RECENT_NS = 300_000_000_000
NS_PER_MS = 1_000_000

State = dict[str, Any]


@dataclass(slots=True)
class _Kept:
    at_ns: int
    state: State


class PageState:
    """Of one gateway."""

    def __init__(self, fleet: Fleet, dispatch: Dispatch, clock: Clock) -> None:
        self._fleet = fleet
        self._dispatch = dispatch
        self._clock = clock
        self._kept: _Kept | None = None

    def now(self) -> State:
        """As it is, or was a moment ago."""
        now_ns = self._clock.now_ns()
        if self._kept is None or now_ns - self._kept.at_ns >= KEPT_NS:
            self._kept = _Kept(now_ns, self._look(now_ns))
        return self._kept.state

    def _look(self, now_ns: int) -> State:
        card = self._fleet.card()
        records = recent(self._dispatch.decisions, now_ns)
        return {
            "at_ms": now_ns // NS_PER_MS,
            "is_ready": self._dispatch.is_ready(),
            "model": None if card is None else {"name": card.name, "block_size": card.block_size},
            "in_flight": sum(record.ended_ns is None for record in records),
            "waiting": {each.value: self._dispatch.waiting_of(each) for each in RequestClass},
            "replicas": self._replicas(),
            "requests": requests_of(records, now_ns),
            "moves": moves_of(records, now_ns),
            "pace": pace_of(records, now_ns),
        }

    def _replicas(self) -> list[State]:
        reports = {
            member.record.replica_id: link.snapshot() for member, link in self._fleet.links()
        }
        return [
            replica_of(replica, reports.get(replica.replica_id))
            for replica in self._fleet.view().replicas
        ]


def recent(decisions: Decisions, now_ns: int) -> Sequence[Record]:
    """Requests that have not ended, or ended lately; the newest first."""
    return [
        record
        for record in decisions.recent()
        if record.ended_ns is None or now_ns - record.ended_ns <= RECENT_NS
    ]


def replica_of(replica: ReplicaView, report: Snapshot | None) -> State:
    """A replica, as it reports itself and with what was promised since."""
    shared = 0 if report is None else min(report.blocks_shared, replica.blocks_used)
    return {
        "replica": replica.replica_id,
        "state": standing(replica),
        "blocks": {
            "total": replica.blocks_total,
            "free": replica.blocks_free,
            "cached": replica.blocks_cached,
            "shared": shared,
            "private": replica.blocks_used - shared,
            "promised": replica.blocks_promised,
        },
        "running": replica.sequences_running,
        "waiting": replica.sequences_waiting,
        "promised": replica.sequences_promised,
        "step_ms": None if report is None else round(report.step_ns / NS_PER_MS, 3),
        "decode_tokens": 0 if report is None else report.counters.decode_tokens,
    }


def standing(replica: ReplicaView) -> str:
    """In a word: whether it takes work, and if not, why."""
    if not replica.alive:
        return "silent"
    return "leaving" if replica.draining else "open"
