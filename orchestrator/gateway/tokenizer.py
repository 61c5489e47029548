"""Text to token ids and back, for one model.

Replicas know no text, so every gateway carries the tokenizer of the model it
serves. A bare text is opened as the tokenizer opens one (a begin token, for
some models); a rendered conversation already holds its special tokens and
gets no others. Decoding goes through a table of bytes and never fails.
"""

from __future__ import annotations

from pathlib import Path

import tokenizers
from jinja2 import TemplateError

from orchestrator.gateway.chat_template import ChatTemplate
from orchestrator.gateway.segments import SegmentedEncoder
from orchestrator.gateway.token_bytes import UnsupportedTokenizer, token_bytes
from orchestrator.gateway.tokenizer_files import TokenizerParts, read_folder
from orchestrator.gateway.tokenizer_gguf import read_gguf

__all__ = ["Tokenizer", "UnsupportedTokenizer", "load_tokenizer"]


def load_tokenizer(path: Path) -> Tokenizer:
    """From a model's folder (tokenizer.json and what lies beside it) or from a .gguf file.

    Raises UnsupportedTokenizer for one that would be read wrongly, or is damaged.
    """
    return Tokenizer(read_gguf(path) if path.suffix == ".gguf" else read_folder(path))


class Tokenizer:
    """One model's tokenizer. Encoding may be called from several threads."""

    def __init__(self, parts: TokenizerParts) -> None:
        parts.raw.no_truncation()
        parts.raw.no_padding()
        self.eos_ids = parts.eos_ids
        self.chat_template = _chat_template(parts)
        self._encoder = SegmentedEncoder(parts.raw)
        # Without what was added to it later: some models never learned those tokens.
        self.vocab_size = parts.raw.get_vocab_size(with_added_tokens=False)
        self._opening = _opening(parts.raw)
        self.spelling = token_bytes(parts.raw)  # of every token id, special ones included
        self.special = frozenset(
            token for token, added in parts.raw.get_added_tokens_decoder().items() if added.special
        )

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Tokens of a bare text, opened as this tokenizer opens one."""
        return self._opening + self._encoder.encode(text)

    def encode_conversation(self, rendered: str) -> tuple[int, ...]:
        """Tokens of a rendered conversation, and nothing besides."""
        return self._encoder.encode(rendered)

    def fresh_characters(self, text: str) -> int:
        """Characters that encoding this text would have to look at: its cost."""
        return self._encoder.fresh_characters(text)

    def visible_bytes(self, token: int) -> bytes:
        """What the token adds to a text; nothing for special and unknown ids."""
        return b"" if token in self.special else self.spelled_bytes(token)

    def spelled_bytes(self, token: int) -> bytes:
        """How the token is written, special ones included; nothing for unknown ids."""
        return self.spelling[token] if token < len(self.spelling) else b""


def _chat_template(parts: TokenizerParts) -> ChatTemplate | None:
    if parts.chat_template is None:
        return None
    try:
        return ChatTemplate(
            parts.chat_template, bos_token=parts.bos_token, eos_token=parts.eos_token
        )
    except (TemplateError, RecursionError) as error:
        raise UnsupportedTokenizer(f"the chat template is not Jinja: {error}") from error


def _opening(raw: tokenizers.Tokenizer) -> tuple[int, ...]:
    """Tokens that the tokenizer puts before a bare text."""
    plain = raw.encode("a", add_special_tokens=False).ids
    whole = raw.encode("a", add_special_tokens=True).ids
    opening = whole[: len(whole) - len(plain)]
    if opening + plain != whole:
        raise UnsupportedTokenizer("a tokenizer that adds tokens after a text is not supported")
    return tuple(opening)
