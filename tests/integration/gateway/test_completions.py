"""OpenAI's own client against /v1/completions and /v1/models."""

from __future__ import annotations

import openai
import pytest

from protos.messages import RefusalReason, Request
from tests.integration.gateway.conftest import Served
from tests.integration.gateway.scripted import REPLICA, ScriptedReplica


async def test_a_prompt_is_completed(served: Served) -> None:
    async with served.openai() as client:
        answer = await client.completions.create(model="bytes", prompt="Say")
    assert served.replica.requests[0].prompt == tuple(b"Say")
    assert served.replica.requests[0].sampling.tokens_max == 16
    assert answer.object == "text_completion"
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Hello!", "stop")


async def test_a_stream_is_text_and_then_the_reason(served: Served) -> None:
    async with served.openai() as client:
        stream = await client.completions.create(
            model="bytes", prompt=[1, 2, 3], stream=True, max_tokens=3
        )
        choices = [chunk.choices[0] async for chunk in stream]
    assert served.replica.requests[0].prompt == (1, 2, 3)
    assert [choice.text for choice in choices] == ["H", "e", "l", ""]
    assert [choice.finish_reason for choice in choices] == [None, None, None, "length"]


async def test_log_probabilities_have_openais_old_shape(served: Served) -> None:
    async with served.openai() as client:
        answer = await client.completions.create(
            model="bytes", prompt="Say", logprobs=1, max_tokens=2
        )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["H", "e"]
    assert logprobs.token_logprobs == [-0.25, -0.25]
    assert logprobs.text_offset == [0, 1]
    assert logprobs.top_logprobs == [{"A": -65.5}, {"A": -65.5}]


PROMPTS = ["a", "bb", "ccc"]


async def test_several_prompts_are_one_answer_with_their_choices_in_order(served: Served) -> None:
    served.replica.answer = b"x"
    async with served.openai() as client:
        raw = await client.completions.with_raw_response.create(model="bytes", prompt=PROMPTS, n=2)
    answer = raw.parse()
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (index, ".x" if index % 2 else "x") for index in range(6)
    ]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 3 * (2 + 3))
    assert raw.headers["x-blockyard-replica"] == REPLICA
    assert raw.headers["x-blockyard-attempts"] == "3"
    assert len({request.request_id for request in served.replica.requests}) == 3


async def test_several_prompts_are_one_stream(served: Served) -> None:
    async with served.openai() as client:
        stream = await client.completions.create(
            model="bytes",
            prompt=PROMPTS,
            n=2,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    texts = dict.fromkeys(range(6), "")
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.text
    assert texts == {index: ".Hello!" if index % 2 else "Hello!" for index in range(6)}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3 * (7 + 8)


async def test_one_prompt_that_fails_fails_them_all(
    served: Served, replica: ScriptedReplica
) -> None:
    def refuse_the_second(request: Request) -> None:
        replica.refusal = RefusalReason.NEVER_FITS if request.prompt == (98,) else None

    replica.on_submit = refuse_the_second
    async with served.openai() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model="bytes", prompt=["a", "b", "c"])
    assert refused.value.code == "never_fits"


async def test_the_model_is_listed_under_its_name(served: Served) -> None:
    async with served.openai() as client:
        (model,) = (await client.models.list()).data
        assert model.id == "bytes"
        assert (await client.models.retrieve("bytes")).id == "bytes"
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("gpt/9")
    assert missing.value.code == "model_not_found"
