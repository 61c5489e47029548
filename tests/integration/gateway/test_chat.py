"""OpenAI's own client against /v1/chat/completions."""

from __future__ import annotations

import asyncio

import openai
from openai.types.chat import ChatCompletionMessageParam

from tests.integration.gateway.conftest import Served
from tests.integration.gateway.scripted import BLOCKS_TOTAL, CARD, REPLICA
from tests.unit.gateway.byte_model import END, START

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
PROMPT = (START, *b"user\nHi", END, *b"\n", START, *b"assistant\n")


async def test_a_chat_is_answered_with_its_usage(served: Served) -> None:
    served.replica.hit_tokens = 16
    async with served.openai() as client:
        answer = await client.chat.completions.create(model="bytes", messages=QUESTION, seed=7)
    (request,) = served.replica.requests
    assert request.prompt == PROMPT
    assert request.sampling.seed == 7
    assert answer.object == "chat.completion"
    assert answer.model == "bytes"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "Hello!"
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.prompt_tokens == len(PROMPT)
    assert usage.completion_tokens == len("Hello!") + 1
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 16


async def test_headers_say_where_and_how_a_request_ran(served: Served) -> None:
    served.replica.hit_tokens = 16
    async with served.openai() as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="bytes", messages=QUESTION, extra_headers={"X-Request-Id": "trace-7"}
        )
        unnamed = await client.chat.completions.with_raw_response.create(
            model="bytes", messages=QUESTION, extra_headers={"X-Request-Id": "not sane"}
        )
    assert answer.headers["x-request-id"] == "trace-7"
    assert answer.headers["x-blockyard-replica"] == REPLICA
    assert answer.headers["x-blockyard-hit-tokens"] == "16"
    assert answer.headers["x-blockyard-attempts"] == "1"
    assert unnamed.headers["x-request-id"].startswith("req-")
    assert served.replica.requests[0].request_id.startswith("trace-7-")


async def test_a_stream_has_a_role_then_text_then_the_reason(served: Served) -> None:
    async with served.openai() as client:
        stream = await client.chat.completions.create(model="bytes", messages=QUESTION, stream=True)
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert [delta.content for delta in deltas[1:-1]] == list("Hello!")
    assert deltas[-1].content is None
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 7 + ["stop"]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_stream_ends_with_its_usage_when_asked(served: Served) -> None:
    async with served.openai() as client:
        stream = await client.chat.completions.create(
            model="bytes",
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=3,
        )
        chunks = [chunk async for chunk in stream]
    *others, last = chunks
    assert all(chunk.usage is None for chunk in others)
    assert others[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (len(PROMPT), 3)


async def test_choices_are_kept_apart(served: Served) -> None:
    async with served.openai() as client:
        answer = await client.chat.completions.create(model="bytes", messages=QUESTION, n=2)
        stream = await client.chat.completions.create(
            model="bytes", messages=QUESTION, n=2, stream=True
        )
        texts = {0: "", 1: ""}
        async for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [choice.message.content for choice in answer.choices] == ["Hello!", ".Hello!"]
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert texts == {0: "Hello!", 1: ".Hello!"}
    assert answer.usage is not None and answer.usage.completion_tokens == 7 + 8


async def test_log_probabilities_come_with_every_token(served: Served) -> None:
    async with served.openai() as client:
        answer = await client.chat.completions.create(
            model="bytes", messages=QUESTION, logprobs=True, top_logprobs=2, max_tokens=2
        )
        stream = await client.chat.completions.create(
            model="bytes", messages=QUESTION, logprobs=True, max_tokens=2, stream=True
        )
        streamed = [chunk.choices[0].logprobs async for chunk in stream]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert [entry.token for entry in logprobs.content] == ["H", "e"]
    assert logprobs.content[0].bytes == [ord("H")]
    assert [top.token for top in logprobs.content[0].top_logprobs] == ["A", "B"]
    assert sum(len(part.content or []) for part in streamed if part is not None) == 2


async def test_a_stop_string_ends_each_choice_and_the_last_one_the_replicas_work(
    served: Served,
) -> None:
    """Choice 1 is a token behind, so choice 0 is over while the replica still runs it."""
    served.replica.answer = b"one STOP two"
    async with served.openai() as client:
        answer = await client.chat.completions.create(
            model="bytes", messages=QUESTION, stop=["ST", "OP"], n=2
        )
    assert [choice.message.content for choice in answer.choices] == ["one ", ".one "]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len("one ST") + len(".one ST")
    assert served.replica.cancelled == 1


async def test_characters_arrive_whole(served: Served) -> None:
    served.replica.answer = "é 日本 🙂".encode()
    async with served.openai() as client:
        stream = await client.chat.completions.create(model="bytes", messages=QUESTION, stream=True)
        texts = [chunk.choices[0].delta.content async for chunk in stream]
    assert [text for text in texts if text] == list("é 日本 🙂")


async def test_the_synchronous_client_works_too(served: Served) -> None:
    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused") as client:
            whole = client.chat.completions.create(model="bytes", messages=QUESTION)
            stream = client.chat.completions.create(model="bytes", messages=QUESTION, stream=True)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return whole.choices[0].message.content, text

    assert await asyncio.to_thread(ask) == ("Hello!", "Hello!")


async def test_tokens_are_sent_as_they_come(served: Served) -> None:
    """The first text is there while the replica still holds the rest back."""
    served.replica.held_after = 2
    async with served.openai() as client:
        stream = await client.chat.completions.create(model="bytes", messages=QUESTION, stream=True)
        texts: list[str] = []
        async for chunk in stream:
            texts.append(chunk.choices[0].delta.content or "")
            if "".join(texts) == "He":
                assert not served.replica.release.is_set()
                served.replica.release.set()
    assert "".join(texts) == "Hello!"


async def test_a_length_left_open_is_what_the_replicas_memory_holds(served: Served) -> None:
    async with served.openai() as client:
        await client.chat.completions.create(model="bytes", messages=QUESTION)
    (request,) = served.replica.requests
    # The token that is sampled last needs no slot.
    assert len(PROMPT) + request.sampling.tokens_max - 1 == BLOCKS_TOTAL * CARD.block_size
