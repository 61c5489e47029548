"""OpenAI's client against /v1/chat/completions."""

from __future__ import annotations

import asyncio
import json

import openai

from tests.integration.gateway.conftest import Served
from tests.integration.gateway.scripted import REPLICA
from tests.unit.gateway.byte_model import END, START

QUESTION = {"role": "user", "content": "Hi"}


async def test_a_chat_is_answered_with_its_usage(served: Served) -> None:
    served.replica.hit_tokens = 16
    async with served.openai() as client:
        answer = await client.chat.completions.create(
            model="bytes", messages=[{"role": "user", "content": "Hi"}], seed=7
        )
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "Hello!"
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    prompt = served.replica.requests[0].prompt
    assert prompt == (START, *b"user\nHi", END, *b"\n", START, *b"assistant\n")
    assert usage.prompt_tokens == len(prompt)
    assert usage.completion_tokens == len("Hello!") + 1
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 16
    assert served.replica.requests[0].sampling.seed == 7
