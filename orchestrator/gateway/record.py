"""The record of one request: when it was where, for how long, and why.

One timeline for all who ask: `blockyard decisions` and `blockyard explain`
print it, spans are made of it when it has ended, and whoever watches the
gateway reads it while it grows. The request path writes it as it goes: it
begins and ends stretches of time, notes what happened, and keeps what each
replica that was asked has said of its own part.

Costs of candidates are worked out when somebody asks; until then a record only
holds on to the frozen view that was decided on. How busy the cluster was is
what others did: only operators are told, since from a queue in seconds another
tenant's prompt can be measured. Times are the gateway's clock's.

Bound: the entries of one record; what finds no room is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, TypeVar

from orchestrator.control.seams import Clock
from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.stretches import Attempt, Stage, Stretch
from orchestrator.policy.route import Offer, Placement, RouteConfig, offers
from orchestrator.policy.view import ClusterView, Subject
from protos.logs import fields
from protos.messages import ReplicaId, Request, RequestClass, RequestId
from protos.trace import TraceContext

EVENTS_MAX = 128  # of one request; as many stages, and as many attempts


class Happening(Enum):
    """What may happen to a choice, besides being placed."""

    QUEUED = "queued"
    TURNED_AWAY = "turned_away"
    GIVEN_UP = "given_up"
    REFUSED = "refused"
    LOST = "lost"
    MOVED = "moved"
    HANDED_BACK = "handed_back"
    ADOPTED = "adopted"
    ADOPTION_FAILED = "adoption_failed"
    TAKEN_OVER = "taken_over"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the cluster, and what was chosen."""

    view: ClusterView
    subject: Subject
    hits: Mapping[ReplicaId, int]
    config: RouteConfig
    placement: Placement

    def offers(self) -> list[Offer]:
        """All candidates, the cheapest first."""
        offered = offers(self.view, self.subject, self.hits, self.config)
        return sorted(offered, key=lambda each: each.cost.total_s)


@dataclass(frozen=True, slots=True)
class Placed:
    """A choice, or all that have not forked yet, was given a place."""

    at_ns: int
    choice: int
    look: Look

    def to_json(self, began_ns: int, caller: Caller) -> dict[str, Any]:
        subject, placement = self.look.subject, self.look.placement
        chosen = {"replica": placement.replica_id, "hit_blocks": placement.hit_blocks}
        return {
            "at_ms": ms(self.at_ns - began_ns),
            "event": "placed",
            "choice": self.choice,
            "choices": subject.choices,
            "tokens": subject.prompt_tokens,
            "replica": placement.replica_id,
            "reason": placement.reason.value,
            "copied_from": placement.source,
            "candidates": (
                [_candidate(offered) for offered in self.look.offers()]
                if caller.is_operator
                else [chosen]
            ),
        }


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that was not our choice."""

    at_ns: int
    choice: int
    what: Happening
    replica_id: ReplicaId | None
    detail: str
    load: str = ""  # how busy the cluster was

    def told(self, caller: Caller) -> str:
        """What is known of it, as far as it is this caller's business."""
        known = (self.detail, self.load) if caller.is_operator else (self.detail,)
        return ", ".join(part for part in known if part)

    def to_json(self, began_ns: int, caller: Caller) -> dict[str, Any]:
        return {
            "at_ms": ms(self.at_ns - began_ns),
            "event": self.what.value,
            "choice": self.choice,
            "replica": self.replica_id,
            "detail": self.told(caller),
        }


Event = Placed | Happened
Entry = TypeVar("Entry")


@dataclass(slots=True)
class Record:
    """One request's. Whoever opened it ends it."""

    clock: Clock
    request_id: RequestId
    request_class: RequestClass
    tenant: str
    began_ns: int
    trace: TraceContext | None = None  # its own span
    trace_parent: str | None = None  # its client's
    prompt_tokens: int = 0
    choices: int = 1
    replica_id: ReplicaId | None = None  # the last one that has answered
    hit_tokens: int = 0  # prompt tokens that the first one had
    completion_tokens: int = 0  # so far, of all choices
    first_token_ns: int | None = None
    ended_ns: int | None = None
    outcome: str | None = None
    events: list[Event] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    left_out: int = 0

    @property
    def reason(self) -> str | None:
        """Why it was placed where it was placed last."""
        placed = [event for event in self.events if isinstance(event, Placed)]
        return placed[-1].look.placement.reason.value if placed else None

    @property
    def trace_id(self) -> str | None:
        """Under which its spans are found; None where nobody traces it."""
        return None if self.trace is None else self.trace.trace_id

    def log_fields(self) -> dict[str, Any]:
        """For the `extra` of every log line that concerns it."""
        return fields(request_id=self.request_id, trace_id=self.trace_id)

    def prepared(self, request: Request) -> None:
        """Its tokens are known."""
        self.prompt_tokens, self.choices = len(request.prompt), request.choices
        now_ns = self.clock.now_ns()
        if now_ns > self.began_ns:
            self.stretch(Stage.PREPARE, 0, self.began_ns).ended_ns = now_ns

    def stretch(self, stage: Stage, choice: int, began_ns: int, detail: str = "") -> Stretch:
        """A stage has begun; whoever opens it closes it."""
        stretch = Stretch(stage, choice, began_ns, detail=detail)
        self._keep(self.stretches, stretch)
        return stretch

    def attempt(self, choice: int, replica_id: ReplicaId) -> Attempt:
        """A replica is asked to run this choice, or all from it on."""
        attempt = Attempt(len(self.attempts), choice, replica_id, self.clock.now_ns())
        self._keep(self.attempts, attempt)
        return attempt

    def traceparent(self, attempt: Attempt) -> str:
        """What the spans of this attempt belong to; empty where nobody traces it."""
        return "" if self.trace is None else self.trace_of(attempt, self.trace).traceparent

    def trace_of(self, attempt: Attempt, trace: TraceContext) -> TraceContext:
        """The span of this attempt, below its request's."""
        return trace.child("attempt", attempt.number)

    def placed(self, choice: int, look: Look) -> None:
        """A look at the cluster gave this choice, or all, a place."""
        self._keep(self.events, Placed(self.clock.now_ns(), choice, look))

    def note(
        self,
        choice: int,
        what: Happening,
        replica_id: ReplicaId | None = None,
        detail: str = "",
        load: str = "",
    ) -> None:
        """Something happened to this choice, or to all from it on. `load`: for operators."""
        happened = Happened(self.clock.now_ns(), choice, what, replica_id, detail, load)
        self._keep(self.events, happened)

    def answered(self, replica_id: ReplicaId, *, hit_tokens: int) -> None:
        """A replica has said its first word."""
        self.replica_id = replica_id
        if self.first_token_ns is None:
            self.first_token_ns = self.clock.now_ns()
            self.hit_tokens = hit_tokens

    def end(self, outcome: str) -> None:
        """Its client has all of it, or will have no more."""
        self.ended_ns, self.outcome = self.clock.now_ns(), outcome

    def to_json(self, caller: Caller = ANYBODY) -> dict[str, Any]:
        """What happened and, for operators, among which costs it was chosen."""
        return {
            "request_id": self.request_id,
            "prompt_tokens": self.prompt_tokens,
            "choices": self.choices,
            "events": [event.to_json(self.began_ns, caller) for event in self.events],
            "events_left_out": self.left_out,
        }

    def _keep(self, entries: list[Entry], entry: Entry) -> None:
        if len(entries) < EVENTS_MAX:
            entries.append(entry)
        else:
            self.left_out += 1


def ms(duration_ns: int) -> float:
    """Milliseconds, for people."""
    return round(duration_ns / 1_000_000, 3)


def _candidate(offered: Offer) -> dict[str, Any]:
    return {
        "replica": offered.replica.replica_id,
        "hit_blocks": offered.hit_blocks,
        **asdict(offered.cost),
        "total_s": offered.cost.total_s,
    }
