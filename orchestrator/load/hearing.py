"""What has been heard of one answer so far, over as many connections as it took.

An answer is whole when every choice has said why it ended and `[DONE]` came
after. A token is what brought text; where the server tells in the end how many
it generated, that number holds instead of the number of events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from orchestrator.load.events import Event, NotEvents

DONE = b"[DONE]"
# What a model thinks before it answers is generated as well; two names are in use.
_TEXTS = ("content", "reasoning_content", "reasoning")


@dataclass(slots=True)
class Hearing:
    """One answer, as far as it came."""

    choices: int
    last_event_id: str = ""
    error_code: str = ""  # of an error event, which ends the stream
    is_done: bool = False
    first_s: float | None = None
    last_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    usage: dict[str, Any] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return self.is_done and len(self.finished) >= self.choices

    @property
    def tokens(self) -> int:
        """As the server counted them; else the events that brought text."""
        heard = len(self.gaps_s) + (self.first_s is not None)
        return _count(self.usage.get("completion_tokens")) or heard

    @property
    def prompt_tokens(self) -> int:
        return _count(self.usage.get("prompt_tokens"))

    @property
    def hit_tokens(self) -> int:
        details = self.usage.get("prompt_tokens_details")
        return _count(details.get("cached_tokens")) if isinstance(details, dict) else 0

    @property
    def said(self) -> tuple[str, ...]:
        """The text of each choice."""
        return tuple(self.texts.get(choice, "") for choice in range(self.choices))

    def take(self, event: Event, now_s: float) -> None:
        """One complete event that arrived now. Raises NotEvents for what is none of OpenAI's."""
        if event.data == DONE:
            self.is_done = True
        else:
            try:
                self._take_chunk(json.loads(event.data.decode()), now_s)
            except (ValueError, TypeError, AttributeError) as error:  # what strangers send
                raise NotEvents(f"no chunk of an answer: {event.data[:80]!r}") from error
        self.last_event_id = event.id

    def _take_chunk(self, chunk: dict[str, Any], now_s: float) -> None:
        if chunk.get("error") is not None:
            self.error_code = error_code(chunk, 0) or "error"
            return
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            text = choice.get("text") or _delta_text(choice.get("delta"))
            if text:
                self.texts[index] = self.texts.get(index, "") + text
                self._time(now_s)
            if choice.get("finish_reason") is not None:
                self.finished.add(index)

    def _time(self, now_s: float) -> None:
        if self.last_s is None:
            self.first_s = now_s
        else:
            self.gaps_s.append(now_s - self.last_s)
        self.last_s = now_s


def _count(value: object) -> int:
    """A number of tokens, from whoever says it."""
    return value if isinstance(value, int) else 0


def error_code(body: object, status: int) -> str:
    """The stable word of an error body: its code, else its type. Empty: it is no error body."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, str):
        return error
    if not isinstance(error, dict) or "message" not in error:
        return ""
    for word in (error.get("code"), error.get("type")):
        if isinstance(word, str) and word:
            return word
    return f"http_{status}" if status else "error"


def _delta_text(delta: dict[str, Any] | None) -> str:
    return next((delta[name] for name in _TEXTS if delta.get(name)), "") if delta else ""
