"""A gateway of replicas that count: follows each answer wherever it goes and checks every index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from protos.identity import request_digest
from protos.messages import Handoff, ReplicaId, Request
from protos.moves import Claim
from tests.unit.moves.pair import End
from tests.unit.shell.counting import answer
from tests.unit.shell.desk import unread
from tests.unit.shell.eventually import eventually


class Client:
    """Asks at the first of some replicas; hears of the rest only by handoffs."""

    def __init__(self, ends: Sequence[End]) -> None:
        self._ends = ends
        self._asked: dict[str, Request] = {}
        self._said: dict[str, list[int]] = {}
        self.adoptions = 0

    def ask(self, *requests: Request) -> None:
        for request in requests:
            self._asked[request.request_id] = request
            self._said[request.request_id] = []
            self._ends[0].submit(request)

    def said(self, request: Request) -> list[int]:
        """All that has come so far."""
        self._read()
        return self._said[request.request_id]

    async def goes_on(self, request: Request) -> None:
        """More comes, and all that has come is what should."""
        heard = len(self.said(request))
        await eventually(lambda: len(self.said(request)) > heard, f"{request.request_id} goes on")
        said = self.said(request)
        assert said == answer(request)[: len(said)]

    def _read(self) -> None:
        for end in self._ends:
            for events in unread(end.link):
                assert not events.refusals, events.refusals
                for delta in events.deltas:
                    said = self._said[delta.request_id]
                    assert delta.first_index == len(said), "a token is missing or came twice"
                    said += [sampled.token for sampled in delta.tokens]
                for handoff in events.handoffs:
                    self._follow(handoff, left=end)

    def _follow(self, handoff: Handoff, *, left: End) -> None:
        asked, said = self._asked[handoff.request_id], self._said[handoff.request_id]
        if handoff.target is None:
            other = next(end for end in self._ends if end is not left)
            other.submit(replace(asked, output=tuple(said)))
            return
        target = self._end(handoff.target)
        claim = Claim(handoff.request_id, handoff.choice, request_digest(asked), len(said))
        target.links.adopt(target.link, claim)
        self.adoptions += 1

    def _end(self, replica_id: ReplicaId) -> End:
        return next(end for end in self._ends if end.peer.replica_id == replica_id)
