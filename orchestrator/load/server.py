"""Meet a server before the run: what its model is called, how it counts text.

The ruler is laid with two prompts of known length: the difference of the
tokens that the server reports for them is what characters cost, and what is
left over is what it adds to every prompt, such as a chat template. So the
lengths asked for hold with any tokenizer. A server that does not know
`ignore_eos` is asked without it, and ends its answers where it likes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import aiohttp

from orchestrator.load.ask import Ask
from orchestrator.load.prompts import Ruler
from orchestrator.load.stream import listen
from orchestrator.load.wire import Wire, failure_code
from orchestrator.load.words import Words
from orchestrator.workload.heard import End, Heard

SHORT_CHARACTERS = 200
LONG_CHARACTERS = 1400
ANSWER_S_MAX = 120.0  # a cold server may take its time for the first prompt of all
MODELS_S = 10.0


class CannotMeet(Exception):
    """The server is not there or is no server of this kind; the message says which."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is the same in all requests to it."""

    model: str
    is_chat: bool
    takes_ignore_eos: bool = True
    ruler: Ruler | None = None  # None: it does not report what it counted

    def body(self, prompt: dict[str, Any], output_tokens: int) -> dict[str, Any]:
        """A streamed request for exactly so many tokens, where the server can promise that."""
        ending = {"ignore_eos": True} if self.takes_ignore_eos else {}
        return {
            "model": self.model,
            **prompt,
            "max_tokens": output_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            **ending,
        }


async def first_model(url: str, wire: Wire) -> str:
    """The name of the first model that the server lists. Raises CannotMeet."""
    timeout = aiohttp.ClientTimeout(total=MODELS_S)
    try:
        async with wire.quick.get(f"{url}/v1/models", timeout=timeout) as response:
            if response.status != HTTPStatus.OK:
                raise CannotMeet(f"{url}/v1/models: HTTP {response.status}")
            listed = await response.json(content_type=None)
        return str(listed["data"][0]["id"])
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CannotMeet(f"{url}: nobody answers there ({failure_code(error)})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise CannotMeet(f"{url}/v1/models lists no model; name one with --model") from error


async def meet(
    url: str, wire: Wire, *, model: str, is_chat: bool, words: Words, deadline_s: float
) -> Server:
    """Ask the server two small things. Raises CannotMeet."""
    answer_s = min(deadline_s, ANSWER_S_MAX)
    server = Server(model, is_chat)
    short = await _ask(url, wire, server, words, SHORT_CHARACTERS, answer_s)
    if short.end is not End.ANSWERED and short.status == HTTPStatus.BAD_REQUEST:
        server = replace(server, takes_ignore_eos=False)
        short = await _ask(url, wire, server, words, SHORT_CHARACTERS, answer_s)
    long = await _ask(url, wire, server, words, LONG_CHARACTERS, answer_s)
    for heard in (short, long):
        if heard.end is not End.ANSWERED:
            status = f", HTTP {heard.status}" if heard.status else ""
            raise CannotMeet(
                f"{url}: a first small request was {heard.end.value}: {heard.code}{status}"
            )
    return replace(server, ruler=laid(short.prompt_tokens, long.prompt_tokens))


def laid(short_tokens: int, long_tokens: int) -> Ruler | None:
    """From what the two prompts were counted as."""
    tokens = long_tokens - short_tokens
    if not short_tokens or tokens <= 0:
        return None
    characters_per_token = (LONG_CHARACTERS - SHORT_CHARACTERS) / tokens
    overhead_tokens = max(0.0, short_tokens - SHORT_CHARACTERS / characters_per_token)
    return Ruler(characters_per_token, overhead_tokens)


async def _ask(
    url: str, wire: Wire, server: Server, words: Words, characters: int, answer_s: float
) -> Heard:
    text = words.piece(f"ruler of {characters}", characters)
    prompt: dict[str, Any] = (
        {"messages": [{"role": "user", "content": text}]} if server.is_chat else {"prompt": text}
    )
    began_s = time.monotonic()
    ask = Ask(characters, "ruler", "", 0.0, server.body(prompt, 1), answer_s)
    return await listen([url], ask, lambda: time.monotonic() - began_s, resume=False, wire=wire)
