"""A workload's arrivals as prompts.

What an arrival's block ids name is shared with whoever has the same ids; the
rest is its own. In a chat that has both, the shared part is the system message
and its own part the user's. Text is cut to length by a ruler that was laid to
the server's own tokenizer; token ids need none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from orchestrator.load.token_ids import TokenIds
from orchestrator.load.words import Words
from orchestrator.workload.traffic import Arrival

SHARED_PIECES_MAX = 1 << 14  # that are kept, since others will need them
# The fields of a body that carry the prompt.
Form = Callable[[Arrival], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ruler:
    """How a server counts text."""

    characters_per_token: float = 4.0  # of English, for most tokenizers
    overhead_tokens: float = 0.0  # that it adds to every prompt


class Span(NamedTuple):
    """A stretch of a prompt that is known by one name."""

    name: str
    start: int  # tokens from the prompt's beginning, before scaling
    end: int

    def size(self, per_token: float, overhead: float = 0.0) -> int:
        """In whatever `per_token` counts; rounded so that neighbours meet."""
        return max(0, round(self.end * per_token - overhead) - round(self.start * per_token))


def shared_spans(arrival: Arrival, block_size: int) -> list[Span]:
    """What its block ids name."""
    ends = range(block_size, block_size * (len(arrival.block_ids) + 1), block_size)
    return [
        Span(f"block {block_id}", end - block_size, min(end, arrival.input_tokens))
        for block_id, end in zip(arrival.block_ids, ends, strict=True)
        if end - block_size < arrival.input_tokens
    ]


def own_spans(arrival: Arrival, block_size: int) -> list[Span]:
    """What they do not cover: one span, or none."""
    start = len(arrival.block_ids) * block_size
    if start >= arrival.input_tokens:
        return []
    return [Span(f"request {arrival.number}", start, arrival.input_tokens)]


def chat_form(words: Words, ruler: Ruler, *, scale: float, block_size: int) -> Form:
    """Messages: what is shared as the system's, what is its own as the user's."""
    texts = _texts(words, ruler, scale, block_size)

    def fields(arrival: Arrival) -> dict[str, Any]:
        shared, own = texts(arrival)
        said = [("system", shared), ("user", own)] if shared and own else [("user", shared + own)]
        return {"messages": [{"role": role, "content": text} for role, text in said]}

    return fields


def text_form(words: Words, ruler: Ruler, *, scale: float, block_size: int) -> Form:
    """A prompt of text."""
    texts = _texts(words, ruler, scale, block_size)

    def fields(arrival: Arrival) -> dict[str, Any]:
        return {"prompt": "".join(texts(arrival))}

    return fields


def ids_form(ids: TokenIds, *, scale: float, block_size: int) -> Form:
    """A prompt of token ids."""
    shared_piece = lru_cache(SHARED_PIECES_MAX)(ids.piece)

    def fields(arrival: Arrival) -> dict[str, Any]:
        shared = [
            shared_piece(span.name, span.size(scale)) for span in shared_spans(arrival, block_size)
        ]
        own = [ids.piece(span.name, span.size(scale)) for span in own_spans(arrival, block_size)]
        return {"prompt": list(chain(*shared, *own)) or ids.piece("shortest", 1)}

    return fields


def _texts(
    words: Words, ruler: Ruler, scale: float, block_size: int
) -> Callable[[Arrival], tuple[str, str]]:
    """The shared part and its own; what the server adds is taken from its own."""
    per_token = scale * ruler.characters_per_token
    overhead = ruler.overhead_tokens * ruler.characters_per_token
    shared_piece = lru_cache(SHARED_PIECES_MAX)(words.piece)

    def texts(arrival: Arrival) -> tuple[str, str]:
        shared = [
            shared_piece(span.name, span.size(per_token))
            for span in shared_spans(arrival, block_size)
        ]
        own = [
            words.piece(span.name, max(2, span.size(per_token, overhead)))
            for span in own_spans(arrival, block_size)
        ]
        return "".join(shared), "".join(own)

    return texts
