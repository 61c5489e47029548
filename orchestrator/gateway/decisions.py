"""What was known and chosen for the last requests, for whoever asks why.

For each request a short record: what every candidate would have cost when it
was placed, the one that was chosen and why, and what happened to it since.
Costs are worked out when somebody asks; until then a record only holds on to
the frozen view that was decided on.

Bounds: requests remembered, the oldest forgotten first, and events of each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from orchestrator.control.seams import Clock
from orchestrator.policy.route import Offer, Placement, Route, RouteConfig, offer
from orchestrator.policy.scores import usable_hits
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId, Request, RequestId

REQUESTS_MAX = 4096
EVENTS_MAX = 128  # of one request


class Happening(Enum):
    """What may happen to a choice, besides being placed."""

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
        usable = usable_hits(self.subject, self.hits)
        offers = [
            offer(replica, usable.get(replica.replica_id, 0), self.subject, self.config)
            for replica in self.view.accepting
        ]
        return sorted(offers, key=lambda offered: offered.cost.total_s)


@dataclass(frozen=True, slots=True)
class Placed:
    """A choice, or all that have not forked yet, was given a place."""

    at_ns: int
    choice: int
    look: Look

    def to_json(self, began_ns: int) -> dict[str, Any]:
        subject, placement = self.look.subject, self.look.placement
        return {
            "at_ms": _ms(self.at_ns - began_ns),
            "event": "placed",
            "choice": self.choice,
            "choices": subject.choices,
            "tokens": subject.prompt_tokens,
            "replica": placement.replica_id,
            "reason": placement.reason.value,
            "candidates": [_candidate(offered) for offered in self.look.offers()],
        }


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that was not our choice."""

    at_ns: int
    choice: int
    what: Happening
    replica_id: ReplicaId | None
    detail: str

    def to_json(self, began_ns: int) -> dict[str, Any]:
        return {
            "at_ms": _ms(self.at_ns - began_ns),
            "event": self.what.value,
            "choice": self.choice,
            "replica": self.replica_id,
            "detail": self.detail,
        }


@dataclass(slots=True)
class Record:
    """One request's."""

    request_id: RequestId
    began_ns: int
    prompt_tokens: int
    choices: int
    events: list[Placed | Happened] = field(default_factory=list)
    left_out: int = 0

    def add(self, event: Placed | Happened) -> None:
        if len(self.events) < EVENTS_MAX:
            self.events.append(event)
        else:
            self.left_out += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "prompt_tokens": self.prompt_tokens,
            "choices": self.choices,
            "events": [event.to_json(self.began_ns) for event in self.events],
            "events_left_out": self.left_out,
        }


class Decisions:
    """The records of one gateway."""

    def __init__(self, clock: Clock, *, requests_max: int = REQUESTS_MAX) -> None:
        self._clock = clock
        self._requests_max = requests_max
        self._records: OrderedDict[RequestId, Record] = OrderedDict()
        # The last look at the cluster. A placement follows without a wait, or not at all.
        self._look: Look | None = None

    def begin(self, request: Request) -> None:
        """A request has arrived; an older one of its id is forgotten."""
        self._records.pop(request.request_id, None)
        self._records[request.request_id] = Record(
            request.request_id, self._clock.now_ns(), len(request.prompt), request.choices
        )
        while len(self._records) > self._requests_max:
            self._records.popitem(last=False)

    def watch(self, choose: Route) -> Route:
        """The same choice of replica, seen."""

        def watched(
            view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
        ) -> Placement | None:
            placement = choose(view, subject, hits, config)
            self._look = None if placement is None else Look(view, subject, hits, config, placement)
            return placement

        return watched

    def placed(self, request: Request) -> None:
        """The last look at the cluster gave this request its place."""
        record = self._records.get(request.request_id)
        if record is not None and self._look is not None:
            record.add(Placed(self._clock.now_ns(), request.first_choice, self._look))

    def note(
        self,
        request: Request,
        what: Happening,
        replica_id: ReplicaId | None = None,
        detail: str = "",
    ) -> None:
        """Something happened to this request, or to its choices from its first one on."""
        record = self._records.get(request.request_id)
        if record is not None:
            now_ns = self._clock.now_ns()
            record.add(Happened(now_ns, request.first_choice, what, replica_id, detail))

    def of(self, request_id: RequestId) -> dict[str, Any] | None:
        """A request's record as JSON; None where it is unknown or forgotten.

        By its own id, or by the name that its client gave, which ids carry in
        front: of several of one name, the latest.
        """
        record = self._records.get(request_id) or next(
            (
                named
                for own_id, named in reversed(self._records.items())
                if own_id.rpartition("-")[0] == request_id
            ),
            None,
        )
        return None if record is None else record.to_json()


def _candidate(offered: Offer) -> dict[str, Any]:
    return {
        "replica": offered.replica.replica_id,
        "hit_blocks": offered.hit_blocks,
        **asdict(offered.cost),
        "total_s": offered.cost.total_s,
    }


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1_000_000, 3)
