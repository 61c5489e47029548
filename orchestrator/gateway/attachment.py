"""The choices on one stream to a replica: who gets what comes, until the stream ends.

Whatever carries the stream says what came and that it ended; what is to be sent
goes out on its way. Every link has one attachment after the other, in every world.

The unit is the choice of a request: choices of one request may have come here
by different ways, each with an inbox of its own, and a choice that was handed
off may come back while its siblings are still here.

A choice that was given up may be asked for again on the same stream, while
what the replica said before it heard of that is still on its way. Messages come
in order, so that is told apart as they come: every claim is answered once, also
when nobody waits for it any more, and what was asked for begins at an index
that is known.

Bound: the choices on the stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from orchestrator.control.seams import LossReason, ReplicaLost, ReplicaRefused
from orchestrator.gateway.wire import Adopt, Cancel, GatewayMessage, Submit
from protos.identity import request_digest
from protos.messages import (
    Delta,
    Handoff,
    Refusal,
    RefusalReason,
    Request,
    RequestId,
    StepEvents,
)
from protos.moves import Claim

Key: TypeAlias = tuple[RequestId, int]  # a choice


class Way(Protocol):
    """How messages get to the replica, as long as the stream lasts."""

    @property
    def is_over(self) -> bool:
        """Whether nothing that is sent can arrive any more."""
        ...

    def send(self, message: GatewayMessage) -> None:
        """After what was sent before. Never blocks and never fails."""
        ...


class Nowhere:
    """The way of a link that has no stream."""

    is_over = True

    def send(self, message: GatewayMessage) -> None:
        """It is lost."""


class Inbox(Protocol):
    """What has arrived for one submission or adoption and was not read yet."""

    def put(self, event: Delta | Handoff) -> None: ...

    def end(self, reason: Exception) -> None:
        """Nothing follows, because of `reason`."""
        ...

    async def take(self) -> Delta | Handoff:
        """The next one; raises the end's reason."""
        ...


@dataclass(slots=True)
class Followed:
    """One choice: where its events go, and where the first of them begins."""

    inbox: Inbox
    first_index: int
    is_claimed: bool
    is_answered: bool = False

    def tell(self, delta: Delta) -> None:
        """Unless it was said before the replica knew that the choice was given up."""
        if self.is_answered or delta.first_index == self.first_index:
            self.is_answered = True
            self.inbox.put(delta)

    def refuse(self, refusal: Refusal) -> None:
        self.is_answered = True
        self.inbox.end(ReplicaRefused(refusal))


class Attachment:
    """One stream and the choices on it. Up from the first message on; dies with the stream."""

    def __init__(self, way: Way, make_inbox: Callable[[], Inbox], *, choices_max: int) -> None:
        self._way = way
        self._make_inbox = make_inbox
        self._choices_max = choices_max
        self._is_heard = False
        self._is_letting_go = False
        self._followed: dict[Key, Followed] = {}
        # Claims that were given up before their answer, each of which still comes.
        self._unanswered: Counter[Key] = Counter()

    # ---- what gateways ask

    @property
    def is_up(self) -> bool:
        """Whether the replica is known to be at the other end."""
        return self._is_heard and not self._way.is_over

    @property
    def following(self) -> int:
        """Choices of which more is to come."""
        return len(self._followed)

    def submit(self, request: Request) -> AsyncGenerator[Delta | Handoff, None]:
        """Run the request here. Closing the generator early cancels what is left of it."""
        choices = range(request.first_choice, request.first_choice + request.choices)
        first_index = len(request.output)
        return self._follow(Submit(request), request.request_id, choices, first_index)

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Go on with a choice that waits here; otherwise as `submit`."""
        claim = Claim(request.request_id, choice, request_digest(request), next_index)
        choices = range(choice, choice + 1)
        return self._follow(Adopt(claim), request.request_id, choices, next_index)

    def let_go(self) -> None:
        """What is given up from now on is not cancelled: it waits for another gateway."""
        self._is_letting_go = True

    async def _follow(
        self, opening: Submit | Adopt, request_id: RequestId, choices: range, first_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """What comes of the choices after this message, until all have ended or gone."""
        self._check(request_id, choices)
        inbox = self._make_inbox()
        for choice in choices:
            followed = Followed(inbox, first_index, is_claimed=isinstance(opening, Adopt))
            self._followed[request_id, choice] = followed
        self._way.send(opening)
        left = list(choices)
        try:
            while left:
                event = await inbox.take()
                if over := ended(event):
                    self._forget(request_id, [choice for choice in left if choice in over])
                    left = [choice for choice in left if choice not in over]
                yield event
        except ReplicaRefused:
            self._forget(request_id, left)
            left = []
            raise
        finally:
            self._give_up(request_id, left)

    def _check(self, request_id: RequestId, choices: range) -> None:
        """Raises what the replica would say, or the stream, without asking them."""
        if not self.is_up:
            raise ReplicaLost(LossReason.UNREACHABLE)
        if len(self._followed) + len(choices) > self._choices_max:
            raise ReplicaRefused(too_many(request_id, choices[0]))
        if any((request_id, choice) in self._followed for choice in choices):
            raise ReplicaRefused(duplicate(request_id, choices[0]))

    def _forget(self, request_id: RequestId, choices: Sequence[int]) -> None:
        """Nothing more of them concerns anybody."""
        for choice in choices:
            del self._followed[request_id, choice]

    def _give_up(self, request_id: RequestId, choices: Sequence[int]) -> None:
        """Each by itself: the replica may have ended or moved any one of them by now."""
        for choice in choices:
            followed = self._followed.pop((request_id, choice))
            if followed.is_claimed and not followed.is_answered:
                self._unanswered[request_id, choice] += 1
            if not self._is_letting_go:
                self._way.send(Cancel(request_id, choice))

    # ---- what the stream says

    def deal(self, events: StepEvents) -> None:
        """Hand what came to whom it concerns; strangers have been cancelled."""
        self._is_heard = True
        for delta in events.deltas:
            if (followed := self._follower(delta)) is not None:
                followed.tell(delta)
        for handoff in events.handoffs:
            if (followed := self._followed.get((handoff.request_id, handoff.choice))) is not None:
                followed.inbox.put(handoff)
        for refusal in events.refusals:
            if (followed := self._follower(refusal)) is not None:
                followed.refuse(refusal)

    def _follower(self, answer: Delta | Refusal) -> Followed | None:
        """Whom it concerns; nobody, if it answers a claim that was given up."""
        key = answer.request_id, answer.choice
        if key not in self._unanswered:
            return self._followed.get(key)
        self._unanswered[key] -= 1
        if not self._unanswered[key]:
            del self._unanswered[key]
        return None

    def lose(self, reason: LossReason) -> None:
        """The stream is gone, and every choice on it."""
        self._is_heard = False
        for followed in self._followed.values():
            followed.inbox.end(ReplicaLost(reason))


def ended(event: Delta | Handoff) -> range:
    """The choices of which nothing follows here."""
    match event:
        case Delta(choice=choice, finish=finish):
            return range(choice, choice + (finish is not None))
        case Handoff(choice=choice, choices=choices):
            return range(choice, choice + choices)


def too_many(request_id: RequestId, choice: int) -> Refusal:
    sentence = "the link to the replica is at its bound"
    return Refusal(request_id, RefusalReason.QUEUE_FULL, sentence, choice)


def duplicate(request_id: RequestId, choice: int) -> Refusal:
    sentence = "a request of this id is still running"
    return Refusal(request_id, RefusalReason.INVALID, sentence, choice)
