"""ReplicaData.Attach over real gRPC on loopback."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import pytest
from grpc import aio

from protos import control_pb2
from protos.messages import FinishReason, RefusalReason, Request
from tests.integration.replica.gateway import WITHIN_S, Gateway, running
from tests.unit.shell.counting import CONFIG, answer, request
from tests.unit.shell.eventually import eventually


async def test_tokens_of_concurrent_requests_share_the_messages_of_a_stream() -> None:
    async with running() as served, served.attached() as gateway:
        served.executor.hold()
        asked = [request("a"), request("b", tokens_max=9), request("c", choices=2)]
        await gateway.submit(*asked)
        await eventually(lambda: served.replica.snapshot().sequences_waiting == 2, "all are in")
        served.executor.release()
        await gateway.finished(*asked)
        for each in asked:
            assert gateway.tokens(each.request_id) == answer(each)
            assert {d.finish for d in gateway.deltas(each.request_id)} == {
                None,
                FinishReason.LENGTH,
            }
        assert gateway.tokens("c", choice=1) == answer(asked[2])
        assert max(len({d.request_id for d in m.deltas}) for m in gateway.messages) == 3


async def test_two_gateways_get_their_own_tokens_for_the_same_id() -> None:
    async with running() as served, served.attached() as one, served.attached() as other:
        first, second = request("same"), request("same", prompt_tokens=9, tokens_max=7)
        await one.submit(first)
        await other.submit(second)
        await one.finished(first)
        await other.finished(second)
        assert one.tokens("same") == answer(first)
        assert other.tokens("same") == answer(second)


async def test_a_quiet_link_still_carries_snapshots() -> None:
    async with running() as served, served.attached() as gateway:
        for _ in range(3):
            message = await gateway.read()
            assert (message.deltas, message.refusals) == ((), ())
        numbers = [message.snapshot.number for message in gateway.messages]
        assert numbers == sorted(set(numbers))
        assert gateway.snapshot.blocks_total == 64


async def test_a_cancelled_request_frees_its_blocks_while_the_step_computes() -> None:
    async with running() as served, served.attached() as gateway:
        served.executor.hold()
        await gateway.submit(request("a"))
        await eventually(lambda: served.blocks_used == 2, "it runs")
        await gateway.submit(replace(request("a"), first_choice=1))
        await eventually(lambda: served.sequences == 2, "another submission of that id waits")
        await gateway.cancel("a", 1)
        await eventually(lambda: served.sequences == 1, "it is gone")
        assert served.blocks_used == 2
        await gateway.cancel("a", 0)
        await eventually(lambda: served.blocks_used == 0, "its blocks are back")
        served.executor.release()
        again = request("a")
        await gateway.submit(again)
        await gateway.finished(again)
        assert gateway.tokens("a") == answer(again)


@pytest.mark.parametrize("ending", ["half-close", "cancel", "lost connection"])
async def test_however_a_stream_ends_what_ran_on_it_is_adopted_token_for_token(ending: str) -> None:
    async with running() as served:
        asked, waiting = request("a", tokens_max=200), request("b", choices=2)
        async with served.attached() as gateway:
            served.executor.step_s = 0.05  # so that it has not ended when it is held
            await gateway.submit(asked)
            await gateway.read_until(lambda: len(gateway.tokens("a")) >= 3)
            served.executor.hold()
            served.executor.step_s = 0.0
            await gateway.submit(waiting)
            await eventually(lambda: served.sequences == 2, "both are in")
            match ending:
                case "half-close":
                    await gateway.call.done_writing()
                    await gateway.read_to_the_end()
                case "cancel":
                    gateway.call.cancel()
            told = len(gateway.tokens("a"))
        async with served.attached() as successor:
            await adopted(successor, asked, next_index=told)
            await adopted(successor, waiting, choice=0)
            await adopted(successor, waiting, choice=1)
            served.executor.release()
            await successor.finished(asked, waiting)
            assert successor.tokens("a", first_index=told) == answer(asked)[told:]
            assert successor.tokens("b", 0) == successor.tokens("b", 1) == answer(waiting)


async def adopted(
    gateway: Gateway, asked: Request, *, choice: int = 0, next_index: int = 0
) -> None:
    """Claim until it is granted: the replica may notice later than we that a stream has ended."""
    async with asyncio.timeout(WITHIN_S):
        while not any(delta.choice == choice for delta in gateway.deltas(asked.request_id)):
            await gateway.adopt(asked, choice=choice, next_index=next_index)
            await gateway.read()


async def test_what_nobody_adopts_is_cancelled_when_its_grace_is_over() -> None:
    async with running(replace(CONFIG, park_grace_ms=1)) as served:
        served.executor.hold()
        asked = request("a")
        async with served.attached() as gateway:
            await gateway.submit(asked, request("b"))
            await eventually(lambda: served.replica.snapshot().sequences_running == 1, "it runs")
        await eventually(
            lambda: (served.blocks_used, served.sequences) == (0, 0), "their blocks are back"
        )
        served.executor.release()
        async with served.attached() as successor:
            await successor.adopt(asked)
            await successor.read_until(lambda: bool(successor.refusals))
            assert successor.refusals[0].reason is RefusalReason.GONE
            other = request("c")
            await successor.submit(other)
            await successor.finished(other)


async def test_what_finishes_with_nobody_to_hear_is_told_to_the_next_gateway() -> None:
    async with running() as served:
        asked, other = request("a"), request("b", tokens_max=20)
        async with served.attached() as gateway:
            served.executor.hold()
            await gateway.submit(asked, other)
            await eventually(lambda: served.blocks_used > 0, "it runs")
        async with served.attached() as successor:
            await adopted(successor, other)  # the end of the stream has been noticed
            served.executor.release()
            await successor.finished(other)
            await successor.adopt(asked)
            await successor.finished(asked)
            assert successor.tokens("a") == answer(asked)


async def test_refusals_come_on_the_stream_with_a_reason() -> None:
    async with running() as served, served.attached() as gateway:
        served.executor.hold()
        await gateway.submit(
            request("long", prompt_tokens=5000),
            request("big", prompt_tokens=300),
            request("none", prompt_tokens=1, choices=0),
            request("twice"),
            request("twice"),
        )
        await gateway.read_until(lambda: len(gateway.refusals) == 4)
        served.executor.release()
        assert [(refusal.request_id, refusal.reason) for refusal in gateway.refusals] == [
            ("long", RefusalReason.CONTEXT_EXCEEDED),
            ("big", RefusalReason.NEVER_FITS),
            ("none", RefusalReason.INVALID),
            ("twice", RefusalReason.INVALID),
        ]
        assert all(refusal.message for refusal in gateway.refusals)


async def test_a_prompt_of_megabytes_is_refused_and_the_stream_goes_on() -> None:
    async with running() as served, served.attached() as gateway:
        asked = request("a")
        await gateway.submit(request("huge", prompt_tokens=1_500_000), asked)
        await gateway.finished(asked)
        assert [refusal.request_id for refusal in gateway.refusals] == ["huge"]


async def test_a_message_that_says_nothing_ends_the_stream() -> None:
    async with running() as served, served.attached() as gateway:
        await gateway.call.write(control_pb2.GatewayMessage())
        with pytest.raises(aio.AioRpcError) as ended:
            await gateway.read_to_the_end()
        assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_gateway_that_does_not_read_is_let_go_and_the_others_go_on() -> None:
    """Each token carries thousands of alternatives, so that the transport's own buffers fill."""
    async with (
        running(replace(CONFIG, link_messages_max=50)) as served,
        served.attached() as slow,
        served.attached() as quick,
    ):
        await slow.submit(request("flood", tokens_max=200, logprobs=4000))
        await eventually(lambda: served.replica.snapshot().counters.steps > 0, "it runs")
        await eventually(lambda: served.blocks_used == 0, "its request was cancelled")
        assert served.replica.snapshot().counters.requests_finished == 0
        asked = request("a")
        await quick.submit(asked)
        await quick.finished(asked)
        with pytest.raises(aio.AioRpcError) as ended:
            await slow.read_to_the_end()
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
