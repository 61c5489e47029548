from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models

from orchestrator.gateway.token_bytes import UnsupportedTokenizer, byte_characters, token_bytes
from tests.unit.gateway.byte_model import END, raw_tokenizer


def test_every_byte_has_a_character_of_its_own() -> None:
    assert sorted(byte_characters().values()) == list(range(256))
    assert byte_characters()["Ġ"] == 0x20
    assert byte_characters()["Ċ"] == 0x0A
    assert byte_characters()["é"] == 0xE9


def test_a_byte_level_token_is_its_bytes_and_a_special_token_its_spelling() -> None:
    table = token_bytes(raw_tokenizer((("Ã", "©"),)))
    assert table[:256] == tuple(bytes([byte]) for byte in range(256))
    assert table[END] == b"<|im_end|>"
    assert table[END + 1] == "é".encode()


def test_a_byte_fallback_token_is_its_text_or_its_byte() -> None:
    vocabulary = {"▁the": 0, "<0xE2>": 1, "a▁b": 2, "<0xZZ>": 3, "日": 5}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    assert token_bytes(raw) == (b" the", b"\xe2", b"a b", b"<0xZZ>", b"", "日".encode())


def test_a_decoder_that_would_be_read_wrongly_is_refused_by_name() -> None:
    raw = raw_tokenizer()
    raw.decoder = decoders.WordPiece()
    with pytest.raises(UnsupportedTokenizer, match="WordPiece"):
        token_bytes(raw)
