"""Choices whose gateway is gone, or that arrived from elsewhere, wait to be adopted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protos.identity import request_digest
from protos.messages import (
    Handoff,
    RefusalReason,
    ReplicaId,
    Request,
    SampledToken,
    SequenceId,
    StepEvents,
)
from protos.moves import Claim
from replicas.shell.link import GatewayLink
from tests.unit.shell.counting import CONFIG, answer, counted, request
from tests.unit.shell.desk import Desk, drain, tokens_of
from tests.unit.shell.eventually import eventually


def claim(asked: Request, choice: int = 0, *, next_index: int = 0) -> Claim:
    return Claim(asked.request_id, choice, request_digest(asked), next_index)


def untimed(handoff: Handoff) -> Handoff:
    """What was given away, and whither; test_stint.py is about the account."""
    assert handoff.account is not None
    return replace(handoff, account=None)


def orphan(desk: Desk, *asked: Request, steps: int) -> None:
    """The requests ran for a while on a link that is gone now."""
    link = desk.links.attach()
    for each in asked:
        desk.links.submit(link, each)
    for _ in range(steps):
        desk.step()
    desk.links.detach(link, park=True)


def refusals(events: list[StepEvents]) -> list[tuple[int, RefusalReason]]:
    return [(r.choice, r.reason) for message in events for r in message.refusals]


async def test_a_parked_choice_goes_on_and_the_next_gateway_gets_every_token_once() -> None:
    desk = Desk()
    asked = request("a", tokens_max=9)
    orphan(desk, asked, steps=3)
    desk.step()  # nobody hears this one
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked, next_index=2))
    desk.finish()
    events = await drain(link)
    assert [d.first_index for d in events[1].deltas] == [2], "the answer comes at once"
    assert len(events[1].deltas[0].tokens) == 2
    assert tokens_of(events, asked, first_index=2) == answer(asked)[2:]
    assert not link.tickets()


async def test_a_claim_that_is_up_to_date_is_answered_by_a_delta_without_tokens() -> None:
    desk = Desk()
    asked = request("a")
    orphan(desk, asked, steps=2)
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked, next_index=2))
    (delta,) = (await drain(link))[1].deltas
    assert (delta.first_index, delta.tokens, delta.finish) == (2, (), None)


async def test_each_choice_is_claimed_for_itself_even_before_they_fork() -> None:
    desk = Desk()
    asked = request("a", choices=3)
    orphan(desk, asked, steps=0)
    one, other = desk.links.attach(), desk.links.attach()
    for link, choice in ((one, 0), (other, 1), (one, 2)):
        desk.links.adopt(link, claim(asked, choice))
    desk.links.cancel(one, asked.request_id, 2)  # of its own adoption, nothing else
    desk.step()
    assert len(desk.engine.sequences()) == 2, "it leaves as it forks"
    desk.finish()
    assert tokens_of(await drain(one), asked, 0) == answer(asked)
    assert tokens_of(await drain(other), asked, 1) == answer(asked)
    assert desk.blocks_used == 0
    assert desk.engine.is_idle


async def test_a_choice_cancelled_while_its_siblings_run_gives_its_blocks_back() -> None:
    desk = Desk()
    asked = request("a", choices=2, tokens_max=20)
    orphan(desk, asked, steps=4)
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked, 0, next_index=4))
    desk.links.adopt(link, claim(asked, 1, next_index=4))
    both = desk.blocks_used
    plan = desk.engine.schedule()
    assert plan is not None
    desk.links.cancel(link, asked.request_id, 1)
    desk.links.deliver(desk.engine.apply(counted(plan)))
    desk.engine.check()
    assert desk.blocks_used < both
    desk.finish()
    assert tokens_of(await drain(link), asked, 0, first_index=4) == answer(asked)[4:]


@pytest.mark.parametrize(
    "other",
    [
        {"digest": b"guessed"},
        {"choice": 1},
        {"next_index": 4},
        {"request_id": "b"},
    ],
)
async def test_a_claim_that_proves_nothing_is_refused_as_gone(other: dict[str, object]) -> None:
    desk = Desk()
    asked = request("a")
    orphan(desk, asked, steps=3)
    link = desk.links.attach()
    wrong = replace(claim(asked), **other)  # type: ignore[arg-type]
    desk.links.adopt(link, wrong)
    assert not link.tickets()
    assert refusals(await drain(link)) == [(wrong.choice, RefusalReason.GONE)]


async def test_a_choice_is_adopted_once() -> None:
    desk = Desk()
    asked = request("a")
    orphan(desk, asked, steps=1)
    first, second = desk.links.attach(), desk.links.attach()
    desk.links.adopt(first, claim(asked))
    desk.links.adopt(first, claim(asked))
    desk.links.adopt(second, claim(asked))
    assert refusals(await drain(first)) == [(0, RefusalReason.INVALID)]
    assert refusals(await drain(second)) == [(0, RefusalReason.GONE)]


async def test_one_that_finishes_while_parked_waits_with_its_end() -> None:
    desk = Desk()
    asked = request("a", logprobs=2)
    orphan(desk, asked, steps=2)
    desk.finish()
    assert desk.blocks_used == 0
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked))
    desk.links.adopt(link, claim(asked))
    events = await drain(link)
    (delta,) = events[1].deltas
    assert tokens_of(events, asked) == answer(asked)
    assert all(len(token.top) == 2 for token in delta.tokens)
    assert refusals(events) == [(0, RefusalReason.GONE)]


async def test_log_probabilities_that_were_never_known_here_are_not_made_up() -> None:
    desk = Desk()
    asked = request("a", logprobs=1)
    resumed = replace(asked, output=tuple(answer(asked)[:2]))
    orphan(desk, resumed, steps=2)
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked, next_index=1))
    desk.links.adopt(link, claim(asked, next_index=2))
    desk.finish()
    events = await drain(link)
    assert refusals(events) == [(0, RefusalReason.GONE)]
    assert tokens_of(events, asked, first_index=2) == answer(asked)[2:]


async def test_what_nobody_claims_is_cancelled_after_its_grace() -> None:
    desk = Desk(replace(CONFIG, park_grace_ms=1))
    asked = request("a")
    orphan(desk, asked, request("b"), steps=1)
    await eventually(lambda: desk.engine.is_idle, "both are given up")
    assert desk.blocks_used == 0
    assert desk.work.is_set()
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked))
    assert refusals(await drain(link)) == [(0, RefusalReason.GONE)]


async def test_an_adopted_choice_outlives_the_grace_it_was_parked_with() -> None:
    desk = Desk(replace(CONFIG, park_grace_ms=1))
    asked = request("a")
    orphan(desk, asked, request("never claimed"), steps=1)
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked))
    await eventually(lambda: desk.links.news().snapshot.sequences_running == 1, "the other left")
    desk.finish()
    assert tokens_of(await drain(link), asked) == answer(asked)


async def test_beyond_the_bound_the_one_parked_longest_is_cancelled() -> None:
    desk = Desk(replace(CONFIG, parked_max=2))
    asked = [request(name) for name in "abc"]
    orphan(desk, *asked, steps=1)
    link = desk.links.attach()
    for each in asked:
        desk.links.adopt(link, claim(each))
    events = await drain(link)
    assert [r.request_id for message in events for r in message.refusals] == ["a"]
    assert len(link.tickets()) == 2


async def test_one_that_talks_to_nobody_for_too_long_is_cancelled() -> None:
    desk = Desk(replace(CONFIG, park_tokens_max=3))
    orphan(desk, request("a", tokens_max=50), steps=2)
    for _ in range(3):
        desk.step()
    assert desk.blocks_used > 0
    desk.step()
    assert desk.blocks_used == 0


# ---- what moves


def sequence_of(link: GatewayLink, choice: int = 0) -> SequenceId:
    (found,) = [ticket.sequence_id for ticket in link.tickets() if ticket.choice == choice]
    return found


def take_out(desk: Desk, sequence_id: SequenceId, target: ReplicaId | None) -> None:
    """As a move, or a handing back, does between two steps."""
    place = desk.links.of(sequence_id)
    assert place is not None
    withdrawn = desk.engine.withdraw(*place)
    assert withdrawn is not None
    desk.links.give(sequence_id, target, choices=withdrawn[1])
    desk.engine.check()


async def test_a_handoff_comes_after_the_last_delta_and_nothing_after_it() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked, stays = request("a", choices=2), request("b")
    desk.links.submit(link, asked)
    desk.links.submit(link, stays)
    desk.step()
    desk.step()
    moved = sequence_of(link, choice=1)
    assert [token.token for token in desk.links.said(moved)] == answer(asked)[:2]
    take_out(desk, moved, ReplicaId("r-1"))
    desk.finish()
    events = await drain(link)
    handoffs = [untimed(handoff) for message in events for handoff in message.handoffs]
    assert handoffs == [Handoff(asked.request_id, 1, 1, ReplicaId("r-1"))]
    assert tokens_of(events, asked, 0) == answer(asked)
    told = [d for message in events for d in message.deltas if (d.request_id, d.choice) == ("a", 1)]
    assert len(told) == 2
    assert desk.links.of(moved) is None


async def test_a_request_that_has_not_forked_is_handed_back_whole() -> None:
    desk = Desk()
    link = desk.links.attach()
    asked = replace(request("a", choices=3), first_choice=2)
    desk.links.submit(link, asked)
    take_out(desk, sequence_of(link, choice=2), None)
    (handoff,) = (await drain(link))[1].handoffs
    assert untimed(handoff) == Handoff(asked.request_id, 2, 3, None)
    assert desk.engine.is_idle
    assert not link.tickets()


async def test_what_is_parked_moves_without_a_word() -> None:
    desk = Desk()
    asked = request("a")
    inner = desk.links.name(asked.request_id)
    assert desk.engine.submit(replace(asked, request_id=inner)) is None
    desk.links.receive(inner, asked, ())
    take_out(desk, SequenceId(f"{inner}/0"), ReplicaId("r-1"))
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked))
    assert refusals(await drain(link)) == [(0, RefusalReason.GONE)]


async def test_what_arrived_waits_for_its_gateway_with_all_it_said_elsewhere() -> None:
    desk = Desk()
    asked = request("a", tokens_max=8, logprobs=1)
    said = tuple(SampledToken(token, -1.0, ((0, -0.0),)) for token in answer(asked)[:3])
    arrived = replace(asked, first_choice=1, output=tuple(token.token for token in said))
    inner = desk.links.name(asked.request_id)
    assert desk.engine.submit(replace(arrived, request_id=inner)) is None
    desk.links.receive(inner, arrived, said)
    desk.step()
    assert len(desk.links.said(SequenceId(f"{inner}/1"))) == 4
    link = desk.links.attach()
    desk.links.adopt(link, claim(asked, 1))
    desk.finish()
    assert tokens_of(await drain(link), asked, 1) == answer(asked)


@pytest.mark.parametrize("is_claimed", [False, True])
async def test_what_arrived_is_recalled_unless_its_gateway_has_claimed_it(is_claimed: bool) -> None:
    desk = Desk()
    asked = request("a")
    inner = desk.links.name(asked.request_id)
    assert desk.engine.submit(replace(asked, request_id=inner)) is None
    desk.links.receive(inner, asked, ())
    link = desk.links.attach()
    if is_claimed:
        desk.links.adopt(link, claim(asked))
    desk.links.recall(inner)
    desk.links.recall(inner)  # and once more
    desk.finish()
    if is_claimed:
        assert tokens_of(await drain(link), asked) == answer(asked)
    else:
        assert desk.engine.is_idle
        assert desk.links.of(SequenceId(f"{inner}/0")) is None
        desk.links.adopt(link, claim(asked))
        assert refusals(await drain(link)) == [(0, RefusalReason.GONE)]


@pytest.mark.parametrize("nonsense", ["", "1:a", "1:a/x", "1:a/", "/", "9:b/0"])
async def test_names_of_no_sequence_are_of_nothing(nonsense: str) -> None:
    desk = Desk()
    desk.links.submit(desk.links.attach(), request("a"))
    assert desk.links.of(SequenceId(nonsense)) is None


async def test_the_largest_sequences_are_reported_under_their_clients_names() -> None:
    desk = Desk()
    link = desk.links.attach()
    for name, prompt_tokens in (("small", 5), ("large", 30), ("middle", 12)):
        desk.links.submit(link, request(name, prompt_tokens=prompt_tokens))
    desk.step()
    assert [report.request_id for report in desk.links.sequences(2)] == ["large", "middle"]
    (largest,) = desk.links.sequences(1)
    assert largest.sequence_id == "2:large/0"
    assert desk.links.of(largest.sequence_id) == ("2:large", 0)
    desk.links.detach(link, park=True)
    assert len(desk.links.sequences(10)) == 3, "also what is parked"


async def test_everything_is_handed_back_whatever_it_is_doing() -> None:
    desk = Desk()
    link = desk.links.attach()
    forked, waiting, parked = request("a", choices=2), request("b", choices=3), request("c")
    orphan(desk, parked, steps=1)
    desk.links.submit(link, forked)
    desk.step()
    plan = desk.engine.schedule()
    assert plan is not None
    desk.links.submit(link, waiting)
    assert desk.links.hand_back() == 4
    desk.links.deliver(desk.engine.apply(counted(plan)))
    desk.engine.check()
    assert desk.engine.is_idle
    events = await drain(link)
    handoffs = [handoff for message in events for handoff in message.handoffs]
    assert sorted((h.request_id, h.choice, h.choices, h.target) for h in handoffs) == [
        ("a", 0, 1, None),
        ("a", 1, 1, None),
        ("b", 0, 3, None),
    ]
    assert not any(message.deltas for message in events[-3:])


async def test_a_choice_given_up_before_it_forked_is_no_ones_when_the_rest_is_handed_back() -> None:
    desk = Desk()
    asked = request("a", choices=3)
    orphan(desk, asked, steps=0)
    link = desk.links.attach()
    for choice in (0, 2):
        desk.links.adopt(link, claim(asked, choice))
    desk.links.cancel(link, asked.request_id, 0)
    assert desk.links.hand_back() == 1
    handoffs = [untimed(each) for message in await drain(link) for each in message.handoffs]
    assert handoffs == [Handoff(asked.request_id, 2, 1, None)]
    assert desk.engine.is_idle
