"""The records of a gateway's last requests, for whoever asks what became of them and why.

A request has its record from its arrival on (record.py); here they are kept,
also after their end, and found again by id. A record that is forgotten while
its request still runs is still written to, and no longer found.

Bound: requests remembered, the oldest forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import chain, islice

from orchestrator.control.seams import Clock
from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.record import Look, Record
from orchestrator.gateway.request_ids import scoped_request_id
from orchestrator.policy.route import Placement, Route, RouteConfig
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId, Request, RequestClass, RequestId
from protos.trace import TraceContext

REQUESTS_MAX = 4096


class Decisions:
    """The records of one gateway."""

    def __init__(self, clock: Clock, *, requests_max: int = REQUESTS_MAX) -> None:
        self._clock = clock
        self._requests_max = requests_max
        self._records: OrderedDict[RequestId, Record] = OrderedDict()
        # The last look at the cluster. A placement follows without a wait, or not at all.
        self._look: Look | None = None

    def open(
        self,
        request_id: RequestId,
        request_class: RequestClass,
        tenant: str,
        *,
        arrived_ns: int | None = None,
        trace: TraceContext | None = None,
        trace_parent: str | None = None,
    ) -> Record:
        """A request has arrived, now or then; an older one of its id is forgotten."""
        began_ns = self._clock.now_ns() if arrived_ns is None else arrived_ns
        record = Record(
            self._clock, request_id, request_class, tenant, began_ns, trace, trace_parent
        )
        self._records.pop(request_id, None)
        self._records[request_id] = record
        while len(self._records) > self._requests_max:
            self._records.popitem(last=False)
        return record

    def begin(self, request: Request) -> Record:
        """A request has arrived with its tokens: that of somebody who has no front door."""
        return self.open(request.request_id, request.request_class, request.tenant)

    def watch(self, choose: Route) -> Route:
        """The same choice of replica, seen."""

        def watched(
            view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
        ) -> Placement | None:
            placement = choose(view, subject, hits, config)
            self._look = None if placement is None else Look(view, subject, hits, config, placement)
            return placement

        return watched

    def placed(self, record: Record, choice: int) -> None:
        """The last look at the cluster gave this choice, or all of the request's, its place."""
        if self._look is not None:
            record.placed(choice, self._look)

    def recent(self, count_max: int = REQUESTS_MAX) -> tuple[Record, ...]:
        """The last requests, the newest first, those that still run included.

        Records are live: what runs goes on to be written.
        """
        return tuple(islice(reversed(self._records.values()), count_max))

    def of(self, request_id: RequestId, caller: Caller = ANYBODY) -> Record | None:
        """A request's record; None where it is unknown, forgotten or not for this caller.

        By its own id, or by the name that its client gave, which ids carry in
        front: of several of one name, the latest.
        """
        if not request_id:  # the name of every "-1", which begins so
            return None
        names = (request_id, scoped_request_id(request_id, caller))
        own = (self._records[name] for name in names if name in self._records)
        named = (
            record
            for own_id, record in reversed(self._records.items())
            if own_id.rpartition("-")[0] == request_id
        )
        found = (record for record in chain(own, named) if caller.may_see(record.tenant))
        return next(found, None)
