"""Encode a prompt piece by piece, and remember the pieces.

A tokenizer first cuts a text at its special tokens and then treats every
piece as if it stood alone. A chat prompt is full of such cuts, so encoding
the pieces apart and concatenating gives exactly the tokens of the whole. The
system prompt that thousands of requests share, and the history that an agent
sends again with every turn, are then found in a table instead of computed.

Exact or not at all: a cut is made only before special tokens that swallow no
whitespace on their left, and only where every step of the tokenizer is known
to look no further than its piece. Any other tokenizer encodes the text whole.
The table forgets the least recently used pieces beyond `characters_max`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import tokenizers

# Steps that see a piece and, at most, whether it begins the text. A piece cut
# off here begins with a special token, so what follows that still does not.
_BLIND_TO_NEIGHBOURS = frozenset({"ByteLevel", "Digits", "Metaspace", "Split"})

# About 10 bytes of memory a character: some 40 MB at the bound, or the
# histories of a few hundred long conversations.
CHARACTERS_MAX = 4_000_000


class SegmentedEncoder:
    """Text -> token ids, without the tokens a tokenizer opens a bare text with.

    May be called from several threads.
    """

    def __init__(self, raw: tokenizers.Tokenizer, *, characters_max: int = CHARACTERS_MAX) -> None:
        self._raw = raw
        self._cut_tokens = _cut_tokens(raw)
        self._added_tokens = _added_tokens_pattern(raw)
        self._characters_max = characters_max
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._characters = 0

    def encode(self, text: str) -> tuple[int, ...]:
        """Exactly the tokens of the whole text."""
        tokens: list[int] = []
        for segment in self._segments(text):
            tokens.extend(self._encode_segment(segment))
        return tuple(tokens)

    def fresh_characters(self, text: str) -> int:
        """Length of the pieces of `text` not remembered: what encoding it will cost."""
        return sum(len(piece) for piece in self._segments(text) if piece not in self._remembered)

    def _segments(self, text: str) -> Iterator[str]:
        """Pieces that concatenate to the text, cut before special tokens."""
        start = 0
        if self._cut_tokens:
            for match in self._added_tokens.finditer(text):
                if match[0] in self._cut_tokens and match.start() > start:
                    yield text[start : match.start()]
                    start = match.start()
        if start < len(text):
            yield text[start:]

    def _encode_segment(self, segment: str) -> tuple[int, ...]:
        with self._lock:
            remembered = self._remembered.get(segment)
            if remembered is not None:
                self._remembered.move_to_end(segment)
                return remembered
        # The batch call, unlike the single one, lets other threads run meanwhile.
        encoding = self._raw.encode_batch_fast([segment], add_special_tokens=False)[0]
        tokens = tuple(encoding.ids)
        with self._lock:
            self._remember(segment, tokens)
        return tokens

    def _remember(self, segment: str, tokens: tuple[int, ...]) -> None:
        if len(segment) > self._characters_max or segment in self._remembered:
            return
        self._remembered[segment] = tokens
        self._characters += len(segment)
        while self._characters > self._characters_max:
            forgotten, _ = self._remembered.popitem(last=False)
            self._characters -= len(forgotten)


def _cut_tokens(raw: tokenizers.Tokenizer) -> frozenset[str]:
    """Special tokens before which a text may be cut; none if the tokenizer might notice."""
    added = raw.get_added_tokens_decoder().values()
    if any(token.single_word for token in added):
        return frozenset()
    if not _step_types(raw.pre_tokenizer) <= _BLIND_TO_NEIGHBOURS:
        return frozenset()
    return frozenset(
        token.content
        for token in added
        if token.special and not token.normalized and not token.lstrip
    )


def _added_tokens_pattern(raw: tokenizers.Tokenizer) -> re.Pattern[str]:
    """Finds what the tokenizer finds in the raw text: the leftmost, then longest added token."""
    contents = [
        token.content for token in raw.get_added_tokens_decoder().values() if not token.normalized
    ]
    return re.compile("|".join(map(re.escape, sorted(contents, key=len, reverse=True))))


def _step_types(pre_tokenizer: Any) -> set[str]:
    if pre_tokenizer is None:
        return set()
    pending = [json.loads(pre_tokenizer.__getstate__())]
    types: set[str] = set()
    while pending:
        step = pending.pop()
        if step["type"] == "Sequence":
            pending.extend(step["pretokenizers"])
        else:
            types.add(step["type"])
    return types
