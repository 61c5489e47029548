"""Tokens to text as they come, never half a character.

A character may span tokens, and a token may end inside one. The bytes of an
unfinished character are held back until the next token completes it; bytes
that can no longer become a character turn into U+FFFD. The texts of all feeds
and the final flush, concatenated, are exactly the decoding of all tokens at
once, and a token costs the same wherever it stands in the stream.
"""

from __future__ import annotations

import codecs

from orchestrator.gateway.tokenizer import Tokenizer

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """The text of one choice, in order."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._visible_bytes = tokenizer.visible_bytes
        self._decoder = _utf8_decoder(errors="replace")

    def feed(self, token: int) -> str:
        """Text that this token completes; often all of it, sometimes none."""
        return self._decoder.decode(self._visible_bytes(token))

    def flush(self) -> str:
        """What is left of an unfinished character when no token follows."""
        return self._decoder.decode(b"", final=True)
