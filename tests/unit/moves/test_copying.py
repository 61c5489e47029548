"""Copies between two replicas that count: what comes, what does not, and who never waits for it.

The executor asserts that each row finds the tokens of its own prompt in its
blocks, so a block in a wrong place, of another prompt or half written fails the
step, whatever the answer would have been.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from protos.hashing import block_hashes
from protos.messages import (
    CopySource,
    FinishReason,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
)
from protos.moves import CopyChunk, CopyOutcome
from replicas.shell.clock import now_ns
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.copying import Wish
from replicas.shell.moves.giving import Giving
from replicas.shell.moves.limits import MoveLimits
from tests.unit.moves.pair import LIMITS, End, ends
from tests.unit.shell.counting import BLOCK, CARD, answer, request
from tests.unit.shell.desk import unread
from tests.unit.shell.eventually import eventually

BLOCKS = 9  # that can be had of a prompt of 40 tokens


def again(asked: Request, name: str, *, source: str = "a", blocks: int = 99) -> Request:
    """The same prompt, whose blocks `source` is said to have."""
    copy_from = CopySource(ReplicaId(source), "", blocks)
    return replace(asked, request_id=RequestId(name), copy_from=copy_from)


@asynccontextmanager
async def warm_ends(
    *, limits: MoveLimits = LIMITS, salt: bytes = b""
) -> AsyncIterator[tuple[End, End, Request]]:
    """Two replicas, of which the first has just answered this request."""
    async with ends("a", "b", limits=limits) as [a, b]:
        await eventually(lambda: b.snapshot.copy_block_ns > 0, "it knows what a copy costs")
        asked = replace(request("first", prompt_tokens=40, tokens_max=3), salt=salt)
        a.submit(asked)
        await eventually(lambda: a.engine.is_idle, "it has finished")
        yield a, b, asked


async def served(end: End, *asked: Request) -> None:
    """All of these are answered there, with the tokens that they must get."""
    told: dict[str, list[int]] = {each.request_id: [] for each in asked}
    open_requests = set(told)

    def all_done() -> bool:
        for events in unread(end.link):
            for delta in (each for each in events.deltas if each.request_id in told):
                told[delta.request_id].extend(token.token for token in delta.tokens)
                if delta.finish is FinishReason.LENGTH:
                    open_requests.discard(delta.request_id)
        return not open_requests

    await eventually(all_done, "they are answered")
    assert told == {each.request_id: answer(each) for each in asked}


def price_ns(end: End, blocks: int = BLOCKS) -> int:
    """Of a copy of so many blocks to there, as it says."""
    return end.snapshot.copy_start_ns + blocks * end.snapshot.copy_block_ns


def ended(end: End) -> dict[str, int]:
    return dict(end.snapshot.copies.ended)


async def test_blocks_that_another_replica_holds_are_copied_and_not_computed() -> None:
    async with warm_ends() as (_, b, asked):
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        counters = b.snapshot.counters
        assert counters.hit_tokens == counters.copied_tokens == BLOCKS * CARD.block_size
        assert counters.prefill_tokens == 40 - BLOCKS * CARD.block_size
        assert ended(b) == {CopyOutcome.COPIED.value: 1}
        assert b.snapshot.copies.blocks == BLOCKS
        assert b.snapshot.copies.held_ns > 0


async def test_only_what_is_missing_is_copied_and_only_as_far_as_it_is_said_to_be() -> None:
    async with warm_ends() as (_, b, asked):
        for blocks in (3, 7):
            name = f"with {blocks}"
            start = replace(asked, prompt=asked.prompt[: blocks * CARD.block_size + 1])
            b.submit(again(start, name, blocks=blocks))
            await served(b, again(start, name))
        b.submit(again(asked, "all", blocks=8))
        await served(b, again(asked, "all"))
        assert b.snapshot.copies.blocks == 8
        assert b.town.copies == 3
        b.submit(again(asked, "once more"))
        await served(b, again(asked, "once more"))
        assert b.town.copies == 3, "there was nothing to ask for"


async def test_a_resumed_choice_copies_what_it_has_said_as_well() -> None:
    async with warm_ends() as (a, b, asked):
        longer = replace(asked, sampling=replace(asked.sampling, tokens_max=12))
        longer = replace(longer, request_id=RequestId("longer"))
        a.submit(longer)
        await served(a, longer)
        resumed = replace(again(longer, "resumed"), output=tuple(answer(longer)[:9]))
        b.submit(resumed)
        await eventually(lambda: b.engine.is_idle, "it has finished")
        said = [delta for events in unread(b.link) for delta in events.deltas]
        assert [token.token for delta in said for token in delta.tokens] == answer(longer)[9:]
        assert said[0].hit_tokens == 48 == b.snapshot.counters.copied_tokens


def changed(chunk: CopyChunk) -> CopyChunk:
    """A bit fell over on the way."""
    wrong = (BLOCK.pack(1, 2, 3, 4), *chunk.payloads[1:])
    return replace(chunk, payloads=wrong)


def misplaced(chunk: CopyChunk) -> CopyChunk:
    return replace(chunk, first=chunk.first + 1)


def shortened(chunk: CopyChunk) -> CopyChunk:
    payloads = tuple(payload[1:] for payload in chunk.payloads)
    return CopyChunk(chunk.first, payloads, checksum(payloads))


def repeated(chunk: CopyChunk) -> CopyChunk:
    payloads = chunk.payloads * 20
    return CopyChunk(chunk.first, payloads, checksum(payloads))


@pytest.mark.parametrize("change", [changed, misplaced, shortened, repeated])
async def test_what_does_not_fit_is_not_used(change: Callable[[CopyChunk], CopyChunk]) -> None:
    async with warm_ends() as (_, b, asked):
        b.town.change = change
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.BROKEN.value: 1}
        assert b.snapshot.counters.copied_tokens == 0


@pytest.mark.parametrize("chunks", [0, 1, 4])
async def test_a_source_that_is_lost_leaves_what_it_has_sent(chunks: int) -> None:
    async with warm_ends() as (_, b, asked):
        b.town.chunks_max = chunks
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.LOST.value: 1}
        # What came before a loss may still be on its way into its place.
        assert b.snapshot.counters.copied_tokens <= chunks * CARD.block_size


async def test_a_source_that_is_gone_or_is_oneself_costs_a_recompute() -> None:
    async with warm_ends() as (_, b, asked):
        for source in ("nobody", "b"):
            b.submit(again(asked, source, source=source))
            await served(b, again(asked, source))
        assert ended(b) == {CopyOutcome.LOST.value: 1}


async def test_a_source_that_has_less_than_it_is_said_to_gives_what_it_has() -> None:
    async with warm_ends() as (_, b, asked):
        longer = replace(asked, prompt=(*asked.prompt, *range(1000, 1040)))
        b.submit(again(longer, "longer"))
        await served(b, again(longer, "longer"))
        assert ended(b) == {CopyOutcome.PARTLY.value: 1}
        assert b.snapshot.counters.copied_tokens == 40


async def test_what_a_source_evicts_while_it_is_read_is_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with warm_ends() as (a, b, asked):
        monkeypatch.setattr(a.engine, "intact", lambda found: 0)
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.PARTLY.value: 1}
        assert b.snapshot.copies.blocks == 0


async def test_a_source_that_has_failed_gives_nothing() -> None:
    async with warm_ends() as (a, b, asked):
        a.giving.close()
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.DECLINED.value: 1}


async def test_a_source_of_another_model_declines() -> None:
    async with warm_ends() as (a, b, asked):
        a.giving._home = replace(a.home, card=replace(CARD, revision="2"))
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.DECLINED.value: 1}


async def test_a_late_copy_is_given_up_and_its_request_computed() -> None:
    async with warm_ends(limits=replace(LIMITS, copy_ms_min=1)) as (_, b, asked):
        expected_ns = price_ns(b)
        b.town.may_pass.clear()
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.LATE.value: 1}
        assert price_ns(b) > expected_ns


async def test_a_copy_is_as_late_as_it_is_long() -> None:
    limits = replace(LIMITS, copy_ms_min=1)
    async with warm_ends(limits=limits) as (_, b, asked):
        for _ in range(10):
            b.copying.learn(BLOCKS, 60_000_000_000)
        assert price_ns(b) > 5_000_000_000
        source = CopySource(ReplicaId("a"), "", BLOCKS)
        for name, deadline_ms in (("patient", None), ("hasty", 500)):
            b.engine.submit(replace(again(asked, name), deadline_ms=deadline_ms), now_ns=now_ns())
            hold = b.engine.hold(RequestId(name), BLOCKS)
            assert hold is not None
            patience_ns = b.copying._patience_ns(Wish(hold, source, now_ns()))
            b.engine.cancel(RequestId(name))
            if deadline_ms is None:
                assert patience_ns == limits.copy_patience * price_ns(b)
            else:
                assert 0 < patience_ns <= 501_000_000


async def test_copies_that_are_given_up_do_not_make_copies_cheap() -> None:
    async with warm_ends(limits=replace(LIMITS, copy_failures_max=99)) as (_, b, asked):
        b.copying.learn(BLOCKS, 400 * 1_000_000)
        before_ns = price_ns(b)
        b.town.free_chunks = 1
        b.town.may_pass.clear()
        for number in range(5):
            given_up = replace(again(asked, f"given up {number}"), deadline_ms=1)
            b.submit(given_up)
            await eventually(lambda: sum(ended(b).values()) > number, "it is given up")  # noqa: B023
        assert price_ns(b) >= before_ns
        b.town.may_pass.set()


async def test_who_waits_for_blocks_holds_up_nobody_and_is_counted() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        b.submit(again(asked, "held"))
        other = request("other", prompt_tokens=6, tokens_max=5)
        b.submit(other)
        await served(b, other)
        snapshot = b.snapshot
        assert (snapshot.sequences_waiting, snapshot.sequences_running) == (1, 0)
        assert snapshot.prefill_tokens_waiting == 40 - BLOCKS * CARD.block_size
        assert snapshot.blocks_waiting == 10
        b.town.may_pass.set()
        await served(b, again(asked, "held"))


async def test_blocks_that_are_on_their_way_are_asked_for_once() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        twins = [again(asked, f"twin {number}") for number in range(4)]
        for twin in twins:
            b.submit(twin)
        await eventually(lambda: b.town.copies == 1, "one asks")
        b.town.may_pass.set()
        await served(b, *twins)
        assert b.town.copies == 1
        assert b.snapshot.copies.blocks == BLOCKS
        assert b.snapshot.counters.hit_tokens == 4 * BLOCKS * CARD.block_size
        assert ended(b) == {CopyOutcome.COPIED.value: 4}


async def test_who_waited_for_anothers_copy_asks_itself_when_that_has_failed() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        b.submit(again(asked, "one", source="a"))
        await eventually(lambda: b.town.copies == 1, "one asks")
        b.submit(again(asked, "two"))
        b.links.cancel(b.link, RequestId("one"), 0)
        b.town.may_pass.set()
        await served(b, again(asked, "two"))
        assert b.town.copies == 2
        assert b.snapshot.counters.copied_tokens == BLOCKS * CARD.block_size


async def test_copies_beyond_the_bound_are_not_made() -> None:
    limits = replace(LIMITS, copies_in_max=1, holds_max=2)
    async with warm_ends(limits=limits) as (a, b, asked):
        other = request("other", prompt_tokens=40, tokens_max=3)
        a.submit(other)
        await eventually(lambda: a.engine.is_idle, "it has finished")
        b.town.may_pass.clear()
        held = again(asked, "held")
        b.submit(held)
        await eventually(lambda: b.town.copies == 1, "one asks")
        b.submit(again(other, "one more"))
        await served(b, again(other, "one more"))
        b.town.may_pass.set()
        await served(b, held)
        assert ended(b) == {CopyOutcome.BUSY.value: 1, CopyOutcome.COPIED.value: 1}


async def test_copies_out_beyond_the_bound_are_declined() -> None:
    async with warm_ends(limits=replace(LIMITS, copies_out_max=0)) as (_, b, asked):
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.DECLINED.value: 1}


async def test_from_a_replica_that_copies_nothing_nothing_comes() -> None:
    async with warm_ends() as (a, b, asked):
        a.giving = Giving(a.home, LIMITS, bytes_per_s=0)
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.DECLINED.value: 1}


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        b.submit(again(asked, "second"))
        await eventually(lambda: b.town.copies == 1, "it asks")
        b.links.cancel(b.link, RequestId("second"), 0)
        assert b.engine.is_idle
        b.town.may_pass.set()
        await eventually(lambda: ended(b) == {CopyOutcome.LEFT.value: 1}, "it is given up")
        assert b.snapshot.blocks_used == 0


async def test_a_deadline_passes_also_while_blocks_are_on_their_way() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        b.submit(replace(again(asked, "second"), deadline_ms=30))
        refusals: list[RefusalReason] = []

        def is_refused() -> bool:
            refusals.extend(each.reason for events in unread(b.link) for each in events.refusals)
            return bool(refusals)

        await eventually(is_refused, "it is overdue")
        assert refusals == [RefusalReason.OVERDUE]
        b.town.may_pass.set()


async def test_blocks_that_are_computed_here_meanwhile_are_skipped() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        b.submit(again(asked, "held"))
        await eventually(lambda: b.town.copies == 1, "it asks")
        start = replace(asked, prompt=asked.prompt[:13], request_id=RequestId("start"))
        b.submit(start)
        await served(b, start)
        b.town.may_pass.set()
        await served(b, again(asked, "held"))
        assert ended(b) == {CopyOutcome.COPIED.value: 1}
        assert b.town.copies == 1
        assert b.snapshot.copies.blocks == BLOCKS - 3


async def test_blocks_that_are_on_their_way_are_not_asked_for_behind_others_that_are_not() -> None:
    async with warm_ends() as (_, b, asked):
        name = block_hashes(asked.prompt, block_size=CARD.block_size, root=CARD.scope())[4]
        b.copying._coming[name] = others = asyncio.Event()
        b.submit(again(asked, "second"))
        await eventually(lambda: b.copying.totals.blocks == 4, "the first ones came")
        assert ended(b) == {}
        del b.copying._coming[name]
        others.set()
        await served(b, again(asked, "second"))
        assert (b.town.copies, b.snapshot.copies.blocks) == (2, BLOCKS)
        assert ended(b) == {CopyOutcome.COPIED.value: 1}


async def test_after_failures_in_a_row_no_copies_are_made_for_a_while() -> None:
    limits = replace(LIMITS, copy_failures_max=2, copy_rest_ms_min=2000)
    async with warm_ends(limits=limits) as (_, b, asked):
        for number in range(2):
            assert price_ns(b) > 0
            lost = replace(again(asked, f"lost {number}", source="nobody"), salt=b"%d" % number)
            b.submit(lost)
            await eventually(lambda: b.engine.is_idle, "it is answered")
        assert b.snapshot.copy_block_ns == b.snapshot.copy_start_ns == 0
        b.submit(replace(again(asked, "computed"), salt=b"at once"))
        assert not b.copying._held, "it waits for nothing"
        await eventually(lambda: price_ns(b) > 0, "it tries again")
        assert ended(b) == {CopyOutcome.LOST.value: 2}


async def test_dear_copies_are_forgotten_when_none_are_made() -> None:
    async with warm_ends(limits=replace(LIMITS, copy_memory_ms=100)) as (_, b, _):
        assumed_ns = price_ns(b)
        for _ in range(5):
            b.copying.learn(BLOCKS, 1000 * assumed_ns)
        assert price_ns(b) > 2 * assumed_ns
        await eventually(lambda: price_ns(b) == assumed_ns, "it has forgotten")


async def test_what_waits_for_blocks_is_handed_back_like_what_waits() -> None:
    async with warm_ends() as (_, b, asked):
        b.town.may_pass.clear()
        b.submit(again(asked, "second"))
        await eventually(lambda: b.town.copies == 1, "it asks")
        b.engine.drain()
        assert b.links.hand_back() == 1
        handoffs = [each for events in unread(b.link) for each in events.handoffs]
        assert [(each.request_id, each.target) for each in handoffs] == [("second", None)]
        b.town.may_pass.set()


async def test_a_draining_source_still_gives() -> None:
    async with warm_ends() as (a, b, asked):
        a.engine.drain()
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"))
        assert ended(b) == {CopyOutcome.COPIED.value: 1}


async def test_a_copy_goes_on_beside_steps_of_both_ends() -> None:
    async with warm_ends() as (a, b, asked):
        busy = [request(f"busy {end}", prompt_tokens=6, tokens_max=400) for end in "ab"]
        a.submit(busy[0])
        b.submit(busy[1])
        b.submit(again(asked, "second"))
        await served(b, again(asked, "second"), busy[1])
        await served(a, busy[0])
        assert b.snapshot.counters.copied_tokens == BLOCKS * CARD.block_size


@pytest.mark.parametrize("asks", [b"", b"one", b"two"])
@pytest.mark.parametrize("holds", [b"", b"one", b"two"])
async def test_blocks_of_one_salt_are_copied_for_it_and_for_no_other(
    holds: bytes, asks: bytes
) -> None:
    async with warm_ends(salt=holds) as (a, b, asked):
        second = replace(again(asked, "second"), salt=asks)
        b.submit(second)
        await served(b, second)
        copied = b.snapshot.counters.copied_tokens
        assert copied == (BLOCKS * CARD.block_size if asks == holds else 0)
        assert ended(b) == {"copied" if asks == holds else "partly": 1}
        # Who asks for what only others have makes the source read nothing, so it takes no longer
        # than asking for what nobody has.
        assert (a.giving._block_bytes is None) == (asks != holds)
