"""Where a choice's time at a replica went: told to its gateway, and as spans to who traces it.

In virtual time, so that every duration is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from protos.messages import Account, Delta, ReplicaId, RequestId, SampledToken
from protos.trace import Span
from replicas.engine.marks import Work
from replicas.shell.link import GatewayLink
from replicas.shell.stint import MOMENTS_MAX, Stint
from tests.unit.dispatch.virtual_time import run
from tests.unit.shell.counting import answer, counted, request
from tests.unit.shell.desk import Desk, drain
from tests.unit.shell.test_parking import claim, take_out

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = replace(request("a", tokens_max=3), traceparent=f"00-{TRACE}-{PARENT}-01")
NS_PER_S = 1_000_000_000


class TimedDesk(Desk):
    """A step takes as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        self.links.export = self.spans.extend

    async def slow_step(self, seconds: int) -> None:
        plan = self.engine.schedule()
        assert plan is not None
        self.links.begin(self.engine.marks)
        await asyncio.sleep(seconds)
        self.links.deliver(self.engine.apply(counted(plan)))

    def durations(self) -> list[tuple[str, int]]:
        return [(s.name, (s.ended_ns - s.began_ns) // NS_PER_S) for s in self.spans]


async def deltas_of(link: GatewayLink) -> Sequence[Delta]:
    return [delta for message in await drain(link) for delta in message.deltas]


def test_the_first_and_the_last_delta_account_for_all_time_here() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        link = desk.links.attach()
        desk.links.submit(link, request("a", tokens_max=3))
        await asyncio.sleep(2)
        for seconds in (3, 5, 7):
            await desk.slow_step(seconds)
        first, second, last = await deltas_of(link)
        s = NS_PER_S
        assert first.account == Account(2 * s, 3 * s, 0, chunks=1, preemptions=0)
        assert second.account is None
        assert last.account == Account(2 * s, 3 * s, 12 * s, chunks=1, preemptions=0)
        assert desk.spans == [], "nobody traces it"

    run(scenario())


def test_a_traced_choice_becomes_spans_below_its_gateways() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        desk.links.submit(desk.links.attach(), TRACED)
        await asyncio.sleep(2)
        for seconds in (3, 5, 7):
            await desk.slow_step(seconds)
        assert desk.durations() == [("queue", 2), ("prefill", 3), ("decode", 12)]
        assert {span.parent_id for span in desk.spans} == {PARENT}
        assert {span.context.trace_id for span in desk.spans} == {TRACE}
        assert len({span.context.span_id for span in desk.spans}) == 3
        decode = desk.spans[-1]
        assert (decode.attributes["outcome"], decode.attributes["tokens"]) == ("length", 3)
        assert decode.attributes["replica"] == "r-0"

    run(scenario())


def test_each_choice_has_spans_of_its_own_though_they_began_as_one() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        desk.links.submit(desk.links.attach(), replace(TRACED, choices=2))
        for _ in range(3):
            await desk.slow_step(1)
        assert len(desk.spans) == 6, "queue, prefill and decode, twice"
        assert len({span.context.span_id for span in desk.spans}) == 6

    run(scenario())


def test_who_is_not_sampled_makes_no_spans() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        unsampled = replace(TRACED, traceparent=f"00-{TRACE}-{PARENT}-00")
        nonsense = replace(TRACED, request_id=RequestId("b"), traceparent="nonsense")
        link = desk.links.attach()
        desk.links.submit(link, unsampled)
        desk.links.submit(link, nonsense)
        for _ in range(3):
            await desk.slow_step(1)
        assert desk.spans == []

    run(scenario())


def test_a_choice_that_is_cancelled_while_it_waits_was_only_in_the_queue() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        link = desk.links.attach()
        desk.links.submit(link, TRACED)
        await asyncio.sleep(4)
        desk.links.cancel(link, TRACED.request_id, 0)
        assert desk.durations() == [("queue", 4)]

    run(scenario())


def test_what_is_handed_off_is_accounted_for() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        link = desk.links.attach()
        desk.links.submit(link, TRACED)
        await desk.slow_step(3)
        await asyncio.sleep(5)
        take_out(desk, link.tickets()[0].sequence_id, ReplicaId("r-1"))
        (handoff,) = (await drain(link))[-1].handoffs
        assert handoff.account == Account(0, 3 * NS_PER_S, 5 * NS_PER_S, chunks=1, preemptions=0)
        assert desk.spans[-1].attributes["outcome"] == "moved"

    run(scenario())


def test_what_arrived_with_its_kv_was_never_in_the_queue() -> None:
    async def scenario() -> None:
        desk = TimedDesk()
        asked = request("a", tokens_max=4)
        inner = desk.links.name(asked.request_id)
        desk.engine.submit(replace(asked, request_id=inner))
        plan = desk.engine.schedule()
        assert plan is not None
        desk.engine.apply(counted(plan))
        said = [SampledToken(answer(asked)[0])]
        arrived = replace(asked, output=(said[0].token,), traceparent=TRACED.traceparent)
        desk.links.receive(inner, arrived, said)
        await desk.slow_step(6)
        link = desk.links.attach()
        desk.links.adopt(link, claim(asked, next_index=1))
        (adopted,) = [delta for delta in await deltas_of(link) if delta.account]
        assert adopted.account == Account(0, 0, 6 * NS_PER_S, chunks=0, preemptions=0)

    run(scenario())


def test_only_so_many_moments_are_remembered_and_all_are_counted() -> None:
    stint = Stint(came_ns=0)
    stint.mark(Work.ADMITTED, 1)
    for at_ns in range(2, 2 * MOMENTS_MAX):
        stint.mark(Work.PREEMPTED, at_ns)
        stint.mark(Work.CHUNK, at_ns)
    assert len(stint.moments) == MOMENTS_MAX
    assert stint.account(99).preemptions == 2 * MOMENTS_MAX - 2
    assert stint.account(99).chunks == 2 * MOMENTS_MAX - 1


def test_what_choices_wait_for_their_first_step_is_added_up_once() -> None:
    """Two choices of one request for 2 s each, another for none; a later step adds nothing."""

    async def scenario() -> None:
        desk = TimedDesk()
        link = desk.links.attach()
        desk.links.submit(link, request("a", tokens_max=3, choices=2))
        await asyncio.sleep(2)
        await desk.slow_step(1)
        desk.links.submit(link, request("b", tokens_max=3))
        await desk.slow_step(1)
        await desk.slow_step(1)
        (*_, last) = await drain(link)
        assert (last.snapshot.totals.admitted, last.snapshot.totals.queue_ns) == (3, 4 * NS_PER_S)

    run(scenario())


def test_only_the_first_admission_ends_a_wait() -> None:
    stint = Stint(came_ns=5)
    assert stint.mark(Work.ADMITTED, 9)
    assert not stint.mark(Work.PREEMPTED, 11)
    assert not stint.mark(Work.ADMITTED, 20)
    assert stint.admitted_ns == 9
