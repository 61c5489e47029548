"""Prompts share what their block ids share, and are as long as asked."""

from __future__ import annotations

from itertools import takewhile

import pytest

from orchestrator.load.prompts import Form, Ruler, chat_form, ids_form, text_form
from orchestrator.load.token_ids import TokenIds
from orchestrator.load.words import TABLE_WORDS, Words
from orchestrator.workload.traffic import Arrival

RULER = Ruler(characters_per_token=4.0)
BLOCK_SIZE = 16


def arrival(number: int, tokens: int, *block_ids: int) -> Arrival:
    return Arrival(number, 0, tokens, 10, block_ids=block_ids)


def text(form: Form, asked: Arrival) -> str:
    return str(form(asked)["prompt"])


def shared_characters(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@pytest.fixture
def form() -> Form:
    return text_form(Words(0), RULER, scale=1.0, block_size=BLOCK_SIZE)


def test_prompts_share_just_what_their_block_ids_share(form: Form) -> None:
    one, other = text(form, arrival(1, 100, 1, 2, 3)), text(form, arrival(2, 100, 1, 2, 4))
    shared = shared_characters(one, other)
    assert 2 * BLOCK_SIZE * 4 <= shared < 2 * BLOCK_SIZE * 4 + 8, "a letter may happen to agree"


def test_the_same_request_is_the_same_text_and_another_seed_makes_another(form: Form) -> None:
    asked = arrival(1, 500, 1, 2)
    again = text_form(Words(0), RULER, scale=1.0, block_size=BLOCK_SIZE)
    other = text_form(Words(1), RULER, scale=1.0, block_size=BLOCK_SIZE)
    assert text(form, asked) == text(again, asked)
    assert shared_characters(text(form, asked), text(other, asked)) < 8


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 33, 4000, 3 * TABLE_WORDS])
@pytest.mark.parametrize("block_ids", [(), (1, 2), (1, 2, 3, 4)])
def test_a_text_has_the_characters_that_its_tokens_take(
    form: Form, tokens: int, block_ids: tuple[int, ...]
) -> None:
    assert len(text(form, arrival(1, tokens, *block_ids))) == 4 * tokens


def test_text_is_made_of_words(form: Form) -> None:
    words = text(form, arrival(1, 1000)).split()
    assert len(words) > 500
    assert all(word.isalpha() for word in words)


def test_a_partial_block_begins_like_the_whole_one(form: Form) -> None:
    assert text(form, arrival(1, 32, 1, 2)).startswith(text(form, arrival(2, 20, 1, 2)))


def test_a_chat_has_what_it_shares_as_the_system_prompt() -> None:
    form = chat_form(Words(0), Ruler(4.0, overhead_tokens=10.0), scale=1.0, block_size=BLOCK_SIZE)
    system, user = form(arrival(1, 132, 1, 2))["messages"]
    assert (system["role"], len(system["content"])) == ("system", 128)
    assert (user["role"], len(user["content"])) == ("user", (100 - 10) * 4)
    (only,) = form(arrival(1, 132))["messages"]
    assert only["role"] == "user"


def test_token_ids_are_exact_shared_and_in_bounds() -> None:
    form = ids_form(TokenIds(0, 256), scale=1.0, block_size=BLOCK_SIZE)
    one, other = (form(arrival(n, 100, 1, 2, n))["prompt"] for n in (8, 9))
    assert len(one) == len(other) == 100
    assert all(32 <= id_ < 256 for id_ in one + other)
    assert one[:32] == other[:32]
    assert one[32:36] != other[32:36]
    assert len(form(arrival(1, 3 * TABLE_WORDS))["prompt"]) == 3 * TABLE_WORDS


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.33, 2.0])
def test_scaled_prompts_share_what_whole_ones_do(scale: float) -> None:
    form = ids_form(TokenIds(0, 32_000), scale=scale, block_size=BLOCK_SIZE)
    blocks = tuple(range(40))
    one = form(arrival(1, 800, *blocks))["prompt"]
    other = form(arrival(2, 900, *blocks))["prompt"]
    assert (len(one), len(other)) == (round(800 * scale), round(900 * scale))
    shared = round(640 * scale)
    assert one[:shared] == other[:shared]
    assert one[shared] != other[shared]
