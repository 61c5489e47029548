"""What each token contributes to the text: its bytes.

Every tokenizer served here is built over bytes: a token is a run of bytes and
a text is the concatenation of its tokens' runs, decoded as UTF-8. Two
spellings of that are known. *Byte-level* vocabularies write each byte as one
printable character (the mapping of GPT-2). *Byte-fallback* vocabularies write
text as it is, a space as U+2581, and bytes outside the vocabulary as `<0xE2>`.

A table from token to bytes makes decoding a concatenation, so that a stream
costs the same for its last token as for its first. The one thing it does not
do is drop the leading space that a byte-fallback decoder drops at the very
beginning of a text: a completion is not the beginning of a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import tokenizers

TOKENS_MAX = 1 << 24  # ids are below: far above any model that exists
# Ids that no token has, in a vocabulary that is otherwise sound: more, and it is a damaged one
# that wants a table of gigabytes.
UNUSED_IDS_MAX = 1 << 18
_FALLBACK_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_FALLBACK_SPACE = "\u2581"
_FALLBACK_STEPS = frozenset({"Replace", "ByteFallback", "Fuse", "Strip"})


class UnsupportedTokenizer(Exception):
    """These files describe a tokenizer that this gateway would get wrong. Says which part."""


def token_bytes(raw: tokenizers.Tokenizer) -> tuple[bytes, ...]:
    """The bytes of every token id, special tokens as they are spelled; b"" for unused ids."""
    spell = _spelling(raw)
    pieces = {token: piece for piece, token in raw.get_vocab(with_added_tokens=True).items()}
    ids = max(pieces, default=-1) + 1
    if not pieces or ids > min(TOKENS_MAX, len(pieces) + UNUSED_IDS_MAX):
        raise UnsupportedTokenizer(f"{len(pieces)} tokens with ids up to {ids} are no vocabulary")
    return tuple(spell(pieces[token]) if token in pieces else b"" for token in range(ids))


def byte_characters() -> dict[str, int]:
    """Character -> byte of a byte-level vocabulary.

    Printable bytes of Latin-1 stand for themselves; the others take the code
    points from 256 upwards, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(256 + place): byte for place, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


def _spelling(raw: tokenizers.Tokenizer) -> Callable[[str], bytes]:
    steps = _decoder_steps(raw.decoder)
    if steps == {"ByteLevel"}:
        return _byte_level(byte_characters())
    if "ByteFallback" in steps and steps <= _FALLBACK_STEPS:
        return _byte_fallback
    raise UnsupportedTokenizer(
        f"decoder {' + '.join(sorted(steps)) or 'None'} is not supported; "
        "ByteLevel and ByteFallback are"
    )


def _byte_level(byte_of: dict[str, int]) -> Callable[[str], bytes]:
    def spell(piece: str) -> bytes:
        if all(character in byte_of for character in piece):
            return bytes(byte_of[character] for character in piece)
        return piece.encode()  # an added token is spelled in plain text

    return spell


def _byte_fallback(piece: str) -> bytes:
    byte = _FALLBACK_BYTE.fullmatch(piece)
    if byte:
        return bytes([int(byte[1], 16)])
    return piece.replace(_FALLBACK_SPACE, " ").encode()


def _decoder_steps(decoder: Any) -> set[str]:
    if decoder is None:
        return set()
    state = json.loads(decoder.__getstate__())
    return {step["type"] for step in state.get("decoders", [state])}
