"""One streamed chat request over HTTP, with its clock: what a client really waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished request as its client saw it. Times are nanoseconds since sending."""

    name: str
    replica: str
    prompt_tokens: int
    hit_tokens: int
    completion_tokens: int
    ttft_ns: int
    total_ns: int

    @property
    def tpot_ns(self) -> int | None:
        """Mean time of a token after the first; None when there was only one."""
        gaps = self.completion_tokens - 1
        return (self.total_ns - self.ttft_ns) // gaps if gaps > 0 else None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A named conversation to send."""

    name: str
    messages: tuple[dict[str, str], ...]
    tokens_max: int


class RequestFailed(Exception):
    """The server refused the request or ended its stream with an error."""


async def ask(client: httpx.AsyncClient, prompt: Prompt, show: Callable[[str], None]) -> Measured:
    """Stream one answer, handing its text to `show`. Raises RequestFailed."""
    body = {
        "messages": list(prompt.messages),
        "max_tokens": prompt.tokens_max,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    sent_ns = time.monotonic_ns()
    first_ns: int | None = None
    usage: dict[str, int] = {}
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != httpx.codes.OK:
            raise RequestFailed((await response.aread()).decode(errors="replace"))
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise RequestFailed(event["error"]["message"])
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                if text := choice["delta"].get("content"):
                    first_ns = first_ns or time.monotonic_ns()
                    show(text)
    ended_ns = time.monotonic_ns()
    return Measured(
        name=prompt.name,
        replica=response.headers["x-blockyard-replica"],
        prompt_tokens=usage["prompt_tokens"],
        hit_tokens=int(response.headers["x-blockyard-hit-tokens"]),
        completion_tokens=usage["completion_tokens"],
        ttft_ns=(first_ns or ended_ns) - sent_ns,
        total_ns=ended_ns - sent_ns,
    )
