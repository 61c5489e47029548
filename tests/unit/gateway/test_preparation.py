from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.gateway.ask import Ask, Conversation, Options, Prompt, Text, Tokens
from orchestrator.gateway.errors import InvalidRequest, NotFound
from orchestrator.gateway.preparation import INLINE_CHARACTERS_MAX, prepare
from orchestrator.gateway.tokenizer import Tokenizer, load_tokenizer
from protos.messages import ModelCard, Request, RequestId
from tests.unit.gateway.byte_model import (
    END,
    END_OF_TEXT,
    START,
    VOCAB_SIZE,
    byte_tokenizer,
    write_model_folder,
)

CARD = ModelCard("m", "r", "float32", 16, 64, VOCAB_SIZE)
LONG_CARD = ModelCard("m", "r", "float32", 16, 1_000_000, VOCAB_SIZE)
POOLS = (100,)  # more than the context


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return byte_tokenizer(tmp_path)


def ask(prompt: Prompt, options: Options | None = None, *, name: str = "r-1") -> Ask:
    return Ask(RequestId(name), prompt, options or Options(), model="m", salt=b"s")


async def prepared(
    tokenizer: Tokenizer,
    prompt: Prompt,
    options: Options | None = None,
    *,
    name: str = "r-1",
    pools: tuple[int, ...] = POOLS,
) -> Request:
    what = ask(prompt, options, name=name)
    return await prepare(what, card=CARD, tokenizer=tokenizer, pools=pools)


async def test_a_completion_may_fill_the_context_and_no_more(tokenizer: Tokenizer) -> None:
    request = await prepared(tokenizer, Text("a" * 63))
    assert request.sampling.tokens_max == 1
    request = await prepared(tokenizer, Text("a"), Options(max_tokens=1000, min_tokens=1000))
    assert (request.sampling.tokens_max, request.sampling.tokens_min) == (63, 63)


@pytest.mark.parametrize(
    ("pools", "n", "tokens_max"),
    [
        pytest.param((3,), 1, 48, id="the pool, and the last token needs no slot"),
        pytest.param((3,), 2, 16, id="two choices, a block each"),
        pytest.param((3,), 16, 1, id="never less than one token"),
        pytest.param((5, 3), 1, 48, id="what fits everywhere"),
        pytest.param((100,), 1, 63, id="the context"),
        pytest.param((), 1, 63, id="nobody lives"),
    ],
)
async def test_a_length_left_open_is_what_replicas_can_hold(
    tokenizer: Tokenizer, pools: tuple[int, ...], n: int, tokens_max: int
) -> None:
    request = await prepared(tokenizer, Text("a"), Options(n=n), pools=pools)
    assert request.sampling.tokens_max == tokens_max


async def test_a_length_that_was_asked_for_stays_though_nobody_can_hold_it(
    tokenizer: Tokenizer,
) -> None:
    request = await prepared(tokenizer, Text("a"), Options(max_tokens=60, n=4), pools=(3,))
    assert request.sampling.tokens_max == 60


async def test_a_prompt_that_leaves_no_room_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match=r"64 tokens.*has 64") as refused:
        await prepared(tokenizer, Text("a" * 64))
    assert refused.value.code == "context_length_exceeded"


async def test_the_models_end_tokens_stop_it_unless_they_are_ignored(tokenizer: Tokenizer) -> None:
    request = await prepared(tokenizer, Text("a"), Options(stop_token_ids=(7,)))
    assert request.sampling.stop_token_ids == (7, END_OF_TEXT, END)
    request = await prepared(tokenizer, Text("a"), Options(stop_token_ids=(7,), ignore_eos=True))
    assert request.sampling.stop_token_ids == (7,)


async def test_a_conversation_is_rendered_and_its_special_tokens_are_tokens(
    tokenizer: Tokenizer,
) -> None:
    request = await prepared(tokenizer, Conversation(({"role": "user", "content": "Hi"},)))
    assert request.prompt == (START, *b"user\nHi", END, *b"\n", START, *b"assistant\n")
    assert request.salt == b"s"


async def test_token_ids_are_used_as_they_are_or_refused(tokenizer: Tokenizer) -> None:
    assert (await prepared(tokenizer, Tokens((1, END, 0)))).prompt == (1, END, 0)
    for wrong in (VOCAB_SIZE, -1, 10**30):
        with pytest.raises(InvalidRequest, match="0 to 258") as refused:
            await prepared(tokenizer, Tokens((1, wrong)))
        assert (refused.value.code, refused.value.param) == ("token_out_of_range", "prompt")
        with pytest.raises(InvalidRequest) as refused:
            await prepared(tokenizer, Text("a"), Options(stop_token_ids=(wrong,)))
        assert refused.value.param == "stop_token_ids"


async def test_an_empty_prompt_is_refused(tokenizer: Tokenizer) -> None:
    for empty in (Text(""), Tokens(())):
        with pytest.raises(InvalidRequest) as refused:
            await prepared(tokenizer, empty)
        assert refused.value.code == "empty_prompt"


async def test_another_model_is_not_found(tokenizer: Tokenizer) -> None:
    other = Ask(RequestId("r"), Text("a"), Options(), model="gpt-9")
    with pytest.raises(NotFound, match=r"'gpt-9'.*'m' is served"):
        await prepare(other, card=CARD, tokenizer=tokenizer, pools=POOLS)
    unnamed = Ask(RequestId("r"), Text("a"), Options())
    request = await prepare(unnamed, card=CARD, tokenizer=tokenizer, pools=POOLS)
    assert request.prompt == (ord("a"),)


async def test_without_a_seed_requests_differ_and_a_retry_does_not(tokenizer: Tokenizer) -> None:
    first = await prepared(tokenizer, Text("a"), name="r-1")
    again = await prepared(tokenizer, Text("a"), name="r-1")
    other = await prepared(tokenizer, Text("a"), name="r-2")
    assert first.sampling.seed == again.sampling.seed != other.sampling.seed
    for seed in (0, 7, -1, 2**63 - 1, -(2**63)):
        sampling = (await prepared(tokenizer, Text("a"), Options(seed=seed))).sampling
        assert 0 <= sampling.seed < 2**63 - 16
    assert (await prepared(tokenizer, Text("a"), Options(seed=7))).sampling.seed == 7


async def test_a_long_text_is_encoded_the_same_in_a_thread(tokenizer: Tokenizer) -> None:
    text = "ab" * INLINE_CHARACTERS_MAX
    request = await prepare(ask(Text(text)), card=LONG_CARD, tokenizer=tokenizer, pools=POOLS)
    assert request.prompt == tuple(text.encode())


async def test_a_model_without_a_template_can_only_complete(tmp_path: Path) -> None:
    write_model_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(InvalidRequest) as refused:
        await prepared(load_tokenizer(tmp_path), Conversation(()))
    assert refused.value.code == "no_chat_template"
