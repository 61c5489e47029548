"""The tokenizer inside GGUF files: small ones written here."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from orchestrator.gateway.token_bytes import byte_characters
from orchestrator.gateway.tokenizer import Tokenizer, UnsupportedTokenizer, load_tokenizer
from tests.unit.gateway.byte_model import (
    CHAT_TEMPLATE,
    END,
    END_OF_TEXT,
    SPECIAL,
    START,
    text_of,
)

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
MERGES = ["1 2", "12 3", "123 4", "Ġ 1", "a b"]


def write_gguf(
    path: Path, *, pre: str = "smollm", model: str = "gpt2", add_bos: bool | None = None
) -> Path:
    plain = [character for character, _ in sorted(byte_characters().items(), key=lambda e: e[1])]
    merged = [merge.replace(" ", "") for merge in MERGES]
    pieces = [*plain, *SPECIAL, *merged, "<tool>"]
    types = [*[NORMAL] * 256, *[CONTROL] * 3, *[NORMAL] * len(merged), USER_DEFINED]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(pieces)
    writer.add_token_types(types)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(START)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END_OF_TEXT)
    writer.add_chat_template(CHAT_TEMPLATE)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pieces(tokenizer: Tokenizer, text: str) -> list[bytes]:
    return [tokenizer.spelled_bytes(token) for token in tokenizer.encode_text(text)]


def test_a_file_gives_all_that_a_folder_gives(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "m.gguf"))
    assert tokenizer.eos_ids == {END, END_OF_TEXT}
    assert tokenizer.chat_template is not None
    assert tokenizer.encode_conversation("<|im_start|>ab") == (START, END + 5)
    assert text_of(tokenizer, tokenizer.encode_text("é 日本 🙂\n")) == "é 日本 🙂\n"


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("smollm", [b"ab", b" ", b"1", b"2", b"3", b"4"]),
        ("gpt-2", [b"ab", b" ", b"1234"]),
        ("llama-bpe", [b"ab", b" ", b"123", b"4"]),
        ("qwen2", [b"ab", b" ", b"1", b"2", b"3", b"4"]),
    ],
)
def test_numbers_are_cut_as_the_model_learnt_them(
    tmp_path: Path, pre: str, expected: list[bytes]
) -> None:
    """The merges would make one token of 1234; only the pre-tokenizer stands between."""
    tokenizer = load_tokenizer(write_gguf(tmp_path / "m.gguf", pre=pre, add_bos=False))
    assert pieces(tokenizer, "ab 1234") == expected


def test_an_unknown_pre_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTokenizer, match="'tekken'"):
        load_tokenizer(write_gguf(tmp_path / "m.gguf", pre="tekken"))
    with pytest.raises(UnsupportedTokenizer, match="'llama'"):
        load_tokenizer(write_gguf(tmp_path / "m.gguf", model="llama"))


@pytest.mark.parametrize(
    ("pre", "add_bos", "opened"),
    [
        ("smollm", None, False),
        ("smollm", True, True),
        ("llama-bpe", None, True),
        ("llama-bpe", False, False),
    ],
)
def test_a_text_is_opened_as_the_file_says_or_the_family_does(
    tmp_path: Path, pre: str, add_bos: bool | None, opened: bool
) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "m.gguf", pre=pre, add_bos=add_bos))
    assert (tokenizer.encode_text("x")[0] == START) is opened
    assert tokenizer.encode_conversation("x") == (ord("x"),)


def test_tokens_that_a_user_added_are_found_whole_but_are_text(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "m.gguf"))
    assert pieces(tokenizer, "a<tool>b") == [b"a", b"<tool>", b"b"]
    assert text_of(tokenizer, tokenizer.encode_text("a<tool>b")) == "a<tool>b"
