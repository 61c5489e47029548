"""Log-probabilities in OpenAI's two shapes.

A token may be half a character: its text is then shown with U+FFFD, and the
chat shape carries the exact bytes besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from protos.messages import SampledToken

Spell = Callable[[int], bytes]

LOGPROB_MIN = -9999.0  # what OpenAI sends for "never"; JSON has no minus infinity


def chat_logprobs(tokens: Sequence[SampledToken], spell: Spell) -> dict[str, Any]:
    """`choices[].logprobs` of a chat completion."""
    return {
        "content": [
            {
                **_entry(sampled.token, sampled.logprob, spell),
                "top_logprobs": [_entry(token, logprob, spell) for token, logprob in sampled.top],
            }
            for sampled in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(
    tokens: Sequence[SampledToken], spell: Spell, *, text_offset: int
) -> dict[str, Any]:
    """`choices[].logprobs` of a completion; `text_offset` is where the first token begins."""
    texts = [_text(sampled.token, spell) for sampled in tokens]
    offsets: list[int] = []
    for text in texts:
        offsets.append(text_offset)
        text_offset += len(text)
    return {
        "tokens": texts,
        "token_logprobs": [_finite(sampled.logprob) for sampled in tokens],
        "top_logprobs": [
            {_text(token, spell): _finite(logprob) for token, logprob in sampled.top}
            for sampled in tokens
        ],
        "text_offset": offsets,
    }


def _entry(token: int, logprob: float | None, spell: Spell) -> dict[str, Any]:
    return {
        "token": _text(token, spell),
        "logprob": _finite(logprob),
        "bytes": list(spell(token)),
    }


def _text(token: int, spell: Spell) -> str:
    return spell(token).decode(errors="replace")


def _finite(logprob: float | None) -> float:
    return LOGPROB_MIN if logprob is None else max(logprob, LOGPROB_MIN)
