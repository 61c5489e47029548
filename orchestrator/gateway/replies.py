"""OpenAI's answers, whole and in chunks, for chats and for completions.

A chunk is assembled from ready-made JSON around the few values that change,
because it is made for every token; a whole answer is made once and is a
plain object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.gateway.choice import Piece
from orchestrator.gateway.logprobs import Spell, chat_logprobs, completion_logprobs
from protos.messages import FinishReason, SampledToken

to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one answer repeat."""

    id: str
    created: int  # seconds since the epoch
    model: str
    fingerprint: str

    def fields(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


@dataclass(slots=True)
class WholeChoice:
    """One choice, collected from its pieces."""

    texts: list[str] = field(default_factory=list)
    tokens: list[SampledToken] = field(default_factory=list)
    finish: FinishReason | None = None

    def add(self, piece: Piece) -> None:
        self.texts.append(piece.text)
        self.tokens.extend(piece.tokens)
        self.finish = piece.finish


def usage(*, prompt_tokens: int, completion_tokens: int, hit_tokens: int) -> dict[str, Any]:
    """`usage`; prompt tokens found in a prefix cache are OpenAI's cached tokens."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": hit_tokens},
    }


class ChatReply:
    """The shapes of /v1/chat/completions. `spell` is None where no log-probabilities were asked."""

    def __init__(self, envelope: Envelope, spell: Spell | None) -> None:
        self.shows_tokens = spell is not None
        self._envelope = envelope
        self._spell = spell

    def whole(self, choices: Sequence[WholeChoice], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        return {
            **self._envelope.fields("chat.completion"),
            "choices": [
                {
                    "index": index,
                    "message": {
                        "role": "assistant",
                        "content": "".join(choice.texts),
                        "refusal": None,
                    },
                    "logprobs": chat_logprobs(choice.tokens, self._spell) if self._spell else None,
                    "finish_reason": choice.finish.value if choice.finish else None,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": usage,
        }

    def head(self) -> str:
        """What every chunk begins with, up to its choices."""
        return to_json(self._envelope.fields("chat.completion.chunk"))[:-1]

    def opening(self) -> str | None:
        """The body of a choice's first chunk."""
        return '"delta":{"role":"assistant","content":""},"logprobs":null'

    def content(self, piece: Piece) -> str:
        """The body of a chunk that carries text."""
        logprobs = to_json(chat_logprobs(piece.tokens, self._spell)) if self._spell else "null"
        return f'"delta":{{"content":{to_json(piece.text)}}},"logprobs":{logprobs}'

    def ending(self) -> str:
        """The body of a choice's last chunk."""
        return '"delta":{},"logprobs":null'


class CompletionReply:
    """The shapes of /v1/completions. `spell` is None where no log-probabilities were asked."""

    def __init__(self, envelope: Envelope, spell: Spell | None) -> None:
        self.shows_tokens = spell is not None
        self._envelope = envelope
        self._spell = spell
        self._text_offsets: dict[int, int] = {}

    def whole(self, choices: Sequence[WholeChoice], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request that does not stream."""
        return {
            **self._envelope.fields("text_completion"),
            "choices": [
                {
                    "index": index,
                    "text": "".join(choice.texts),
                    "logprobs": completion_logprobs(choice.tokens, self._spell, text_offset=0)
                    if self._spell
                    else None,
                    "finish_reason": choice.finish.value if choice.finish else None,
                }
                for index, choice in enumerate(choices)
            ],
            "usage": usage,
        }

    def head(self) -> str:
        """What every chunk begins with, up to its choices."""
        return to_json(self._envelope.fields("text_completion"))[:-1]

    def opening(self) -> str | None:
        """Completions have no opening chunk."""
        return None

    def content(self, piece: Piece) -> str:
        """The body of a chunk that carries text."""
        return f'"text":{to_json(piece.text)},"logprobs":{self._logprobs(piece)}'

    def ending(self) -> str:
        """The body of a choice's last chunk."""
        return '"text":"","logprobs":null'

    def _logprobs(self, piece: Piece) -> str:
        if self._spell is None:
            return "null"
        offset = self._text_offsets.get(piece.choice, 0)
        logprobs = completion_logprobs(piece.tokens, self._spell, text_offset=offset)
        self._text_offsets[piece.choice] = offset + sum(map(len, logprobs["tokens"]))
        return to_json(logprobs)


Reply = ChatReply | CompletionReply
