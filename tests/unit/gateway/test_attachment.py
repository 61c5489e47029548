"""What comes on a stream reaches whom it concerns, with the inboxes of either world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from orchestrator.control.seams import LossReason, ReplicaLost, ReplicaRefused
from orchestrator.gateway.attachment import Attachment, Inbox, Nowhere
from orchestrator.gateway.wire import Cancel, GatewayMessage, Submit
from orchestrator.live.inbox import Inbox as LiveInbox
from orchestrator.sim.inbox import Inbox as SimInbox
from protos.messages import Delta, Handoff, RefusalReason, Request, RequestId, StepEvents
from tests.integration.control.data_server import delta, request
from tests.integration.control.until import WITHIN_S
from tests.unit.control.reports import report

ONE = RequestId("one")
LAST = delta("one", 3, last=True)


class Sent:
    """A way whose other end is the test."""

    def __init__(self) -> None:
        self.messages: list[GatewayMessage] = []
        self.is_over = False

    def send(self, message: GatewayMessage) -> None:
        self.messages.append(message)


@pytest.fixture(params=[partial(LiveInbox, 100), partial(SimInbox, is_patient=True)])
def make_inbox(request: pytest.FixtureRequest) -> Callable[[], Inbox]:
    made: Callable[[], Inbox] = request.param
    return made


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def attachment(sent: Sent, make_inbox: Callable[[], Inbox]) -> Attachment:
    """One that is up."""
    attachment = Attachment(sent, make_inbox, choices_max=2)
    said(attachment)
    return attachment


def said(attachment: Attachment, *deltas: Delta) -> None:
    for one in deltas:
        attachment.deal(StepEvents((one,), (), report()))
    attachment.deal(StepEvents((), (), report()))


async def read(attachment: Attachment, what: Request) -> list[Delta | Handoff]:
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in attachment.submit(what)]


async def begun(attachment: Attachment, what: Request) -> asyncio.Task[list[Delta | Handoff]]:
    """The request has been sent, and nothing came of it yet."""
    reading = asyncio.create_task(read(attachment, what))
    await asyncio.sleep(0)
    return reading


async def claimed(attachment: Attachment, next_index: int) -> asyncio.Task[Delta | Handoff]:
    claim = attachment.adopt(request("one"), choice=0, next_index=next_index)
    reading = asyncio.ensure_future(anext(claim))
    await asyncio.sleep(0)
    return reading


async def given_up(reading: asyncio.Task[Delta | Handoff]) -> None:
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_nothing_is_sent_before_something_came_or_after_the_end(
    sent: Sent, make_inbox: Callable[[], Inbox]
) -> None:
    attachment = Attachment(sent, make_inbox, choices_max=2)
    with pytest.raises(ReplicaLost):
        await read(attachment, request("early"))
    said(attachment)
    reading = await begun(attachment, request("one"))
    attachment.lose(LossReason.SILENT)
    with pytest.raises(ReplicaLost) as caught:
        await reading
    assert caught.value.reason is LossReason.SILENT
    with pytest.raises(ReplicaLost):
        await read(attachment, request("late"))
    assert sent.messages == [Submit(request("one")), Cancel(ONE, 0)]


async def test_a_way_that_is_over_takes_nothing_more(attachment: Attachment, sent: Sent) -> None:
    assert attachment.is_up
    sent.is_over = True
    assert not attachment.is_up
    with pytest.raises(ReplicaLost):
        await read(attachment, request("late"))


def test_what_has_no_way_is_never_up(make_inbox: Callable[[], Inbox]) -> None:
    attachment = Attachment(Nowhere(), make_inbox, choices_max=2)
    said(attachment)
    assert not attachment.is_up


async def test_choices_have_a_bound(attachment: Attachment) -> None:
    reading = await begun(attachment, request("one"))
    with pytest.raises(ReplicaRefused) as caught:
        await read(attachment, request("two", choices=2))
    assert caught.value.refusal.reason is RefusalReason.QUEUE_FULL
    said(attachment, delta("one", 0, last=True))
    assert len(await reading) == 1


async def test_a_claim_given_up_with_its_answer_unread_leaves_nothing_to_wait_for(
    attachment: Attachment,
) -> None:
    """The answer and the end of the search come at once."""
    claim = await claimed(attachment, next_index=0)
    said(attachment, delta("one", 0))
    await given_up(claim)
    reading = await begun(attachment, request("one"))
    said(attachment, delta("one", 0), delta("one", 1, last=True))
    assert await reading == [delta("one", 0), delta("one", 1, last=True)]


async def test_what_was_said_of_a_claim_is_not_joined_with_what_comes_of_its_request(
    attachment: Attachment,
) -> None:
    """A request that brings two tokens along begins where the strays end."""
    claim = await claimed(attachment, next_index=0)
    await given_up(claim)
    reading = await begun(attachment, replace(request("one", tokens_max=4), output=(0, 1)))
    said(attachment, delta("one", 0), delta("one", 1), delta("one", 2), LAST)
    assert await reading == [delta("one", 2), LAST]
