"""Clients that read a stream event by event, remember where they are, and can come back."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

TIMEOUT_S = 120.0


def body(number: int, *, tokens: int = 400, prompt: str = "", **more: Any) -> dict[str, Any]:
    """A sampled completion, the same every time that it is asked for."""
    return {
        "model": "tiny",
        "prompt": f"{prompt}Tell story {number}.",
        "max_tokens": tokens,
        "seed": number,
        "temperature": 0.8,
        "frequency_penalty": 0.1,
        "stream": True,
        "ignore_eos": True,
        **more,
    }


# What clients ask for besides: each must outlive its replica like plain text.
VARIETIES: tuple[dict[str, Any], ...] = (
    {},
    {"logprobs": 2},
    {"temperature": 0, "presence_penalty": 0.5},
    {"structured_outputs": {"regex": "[a-z ]{4000}"}, "ignore_eos": False},
)


def various(number: int, **more: Any) -> dict[str, Any]:
    """As `body`, of another variety with each number."""
    return body(number, **more) | VARIETIES[number % len(VARIETIES)]


@dataclass
class Reader:
    """One stream and what came of it so far, over as many connections as it took."""

    number: int
    ask: dict[str, Any]
    texts: dict[int, str] = field(default_factory=dict)  # of each choice
    finishes: dict[int, str] = field(default_factory=dict)
    tokens: dict[int, list[str]] = field(default_factory=dict)  # where logprobs were asked for
    logprobs: dict[int, list[float]] = field(default_factory=dict)  # of these
    last_event_id: str | None = None
    request_id: str = ""
    is_done: bool = False

    @property
    def text(self) -> str:
        return self.texts.get(0, "")

    def events(self, url: str, name: str = "") -> Generator[int, None, None]:
        """Read on at `url`; yields the events read so far. Raises when the connection breaks."""
        headers = {"X-Request-Id": name or f"story-{self.number}"}
        if self.last_event_id is not None:
            headers["Last-Event-ID"] = self.last_event_id
        count, event_id = 0, self.last_event_id
        with httpx.stream(
            "POST", f"{url}/v1/completions", json=self.ask, headers=headers, timeout=TIMEOUT_S
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise AssertionError(response.read().decode())
            for line in response.iter_lines():
                if line.startswith("id:"):
                    event_id = line.removeprefix("id:").strip()
                elif line.startswith("data:"):
                    self._take(line.removeprefix("data:").strip())
                elif not line:  # the event is complete: only now it counts
                    self.last_event_id = event_id
                    count += 1
                    yield count

    def read(self, url: str, name: str = "") -> str:
        """The whole of it; the text of the first choice."""
        for _ in self.events(url, name):
            pass
        assert self.is_done, f"stream {self.number} ended early: {self.texts}"
        return self.text

    def _take(self, data: str) -> None:
        if data == "[DONE]":
            self.is_done = True
            return
        event = json.loads(data)
        assert "error" not in event, event
        self.request_id = event["id"]
        for choice in event["choices"]:
            index = choice["index"]
            self.texts[index] = self.texts.get(index, "") + choice["text"]
            if choice["finish_reason"] is not None:
                assert index not in self.finishes, "a choice finished twice"
                self.finishes[index] = choice["finish_reason"]
            if choice["logprobs"] is not None:
                self.tokens.setdefault(index, []).extend(choice["logprobs"]["tokens"])
                self.logprobs.setdefault(index, []).extend(choice["logprobs"]["token_logprobs"])


def assert_same(reader: Reader, whole: Reader) -> None:
    """What was disturbed says what the other says, with every token's log-probability."""
    assert reader.texts == whole.texts
    assert reader.finishes == whole.finishes
    assert reader.tokens == whole.tokens
    for choice in range(reader.ask.get("n", 1)):
        if "logprobs" in reader.ask:
            assert len(reader.logprobs[choice]) == reader.ask["max_tokens"]
            # Another batch may round differently, in the last of some seven digits.
            assert reader.logprobs[choice] == pytest.approx(whole.logprobs[choice], abs=1e-4)
