"""Chats of a given number of tokens, for a model's own tokenizer and template.

The words are ones of the vocabulary, drawn by Zipf's law in the order of their
ids, which is about that of how often they are used: tokenizers remember common
words, and to one that meets rare ones only, encoding takes three times as long.
No text repeats unless it is meant to. A chat is a system prompt and a short question.
"""

from __future__ import annotations

from itertools import accumulate
from random import Random
from typing import Any

from orchestrator.gateway.tokenizer import Tokenizer

QUESTION_WORDS = 24
WORD_LETTERS_MIN = 3


class Chats:
    """Makes them. Of one seed, the same ones in the same order."""

    def __init__(self, tokenizer: Tokenizer, *, prompt_tokens: int, seed: int) -> None:
        assert tokenizer.chat_template is not None, "a model to chat with"
        self._template = tokenizer.chat_template
        self._tokenizer = tokenizer
        self._random = Random(seed)
        self._words = _words(tokenizer)
        self._weights = list(accumulate(1 / rank for rank in range(1, len(self._words) + 1)))
        self._system_words = self._fitting(prompt_tokens)
        self._known = self._text(self._system_words)

    def new(self) -> list[dict[str, Any]]:
        """Nothing of it was asked before."""
        return _chat(self._text(self._system_words), self._text(QUESTION_WORDS))

    def known(self) -> list[dict[str, Any]]:
        """A new question after the one system prompt."""
        return _chat(self._known, self._text(QUESTION_WORDS))

    def tokens(self, messages: list[dict[str, Any]]) -> int:
        """Of the whole prompt."""
        rendered = self._template.render(messages)
        return len(self._tokenizer.encode_conversation(rendered))

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=words))

    def _fitting(self, prompt_tokens: int) -> int:
        """Words of the system prompt with which a chat has so many tokens on average."""
        few, many = 100, 300
        at_few = sum(self._tokens_with(few) for _ in range(10)) / 10
        at_many = sum(self._tokens_with(many) for _ in range(10)) / 10
        per_word = (at_many - at_few) / (many - few)
        return max(1, round(few + (prompt_tokens - at_few) / per_word))

    def _tokens_with(self, words: int) -> int:
        return self.tokens(_chat(self._text(words), self._text(QUESTION_WORDS)))


def _chat(system: str, question: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def _words(tokenizer: Tokenizer) -> list[str]:
    """Whole words of the vocabulary, by their ids."""
    spelled = [spelling.decode(errors="replace") for spelling in tokenizer.spelling]
    words = [each[1:] for each in spelled if each[:1] == " "]
    return [word for word in words if word.isalpha() and len(word) >= WORD_LETTERS_MIN]
