"""The tokenizer inside a GGUF file.

GGUF stores vocabulary and merges but only the *name* of the pre-tokenizer,
the rule that cuts text into words before merging. A wrong rule still gives
tokens, only not those the model was trained on: so the rule is looked up by
name in a small table, and a name that is not in it is refused. (SmolLM splits
digits one by one; a converter that forgets it misreads every number.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from orchestrator.gateway.token_bytes import UnsupportedTokenizer
from orchestrator.gateway.tokenizer_files import TokenizerParts

_CONTROL, _USER_DEFINED = 3, 4  # GGUF's token types that are matched in the raw text

# Words as GPT-4's family cuts them; {digits} is how many digits form one.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class _MappedFile(gguf.GGUFReader):
    """Slices of a memmap cost three times those of a plain array, and a vocabulary is many."""

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)


def read_gguf(path: Path) -> TokenizerParts:
    """Raises UnsupportedTokenizer, naming the model or pre-tokenizer it does not know."""
    fields = _Fields(_MappedFile(path))
    kind = fields.get("model")
    if kind != "gpt2":
        raise UnsupportedTokenizer(f"GGUF tokenizer model {kind!r} is not supported; 'gpt2' is")
    pre = fields.get("pre")
    pieces: list[str] = fields.get("tokens")
    raw = _build(
        pieces,
        merges=fields.get("merges"),
        types=fields.get("token_type"),
        pre=pre,
    )
    ends = [fields.get(name) for name in ("eos_token_id", "eot_token_id", "eom_token_id")]
    eos_ids = [token for token in ends if token is not None]
    bos = fields.get("bos_token_id")
    opens = fields.get("add_bos_token")
    if opens is None:
        opens = pre == "llama-bpe"  # that family opens a text unless told otherwise
    if opens and bos is not None:
        _open_with(raw, pieces[bos], bos)
    return TokenizerParts(
        raw=raw,
        eos_ids=frozenset(eos_ids),
        chat_template=fields.template(),
        bos_token=pieces[bos] if bos is not None else "",
        eos_token=pieces[eos_ids[0]] if eos_ids else "",
    )


class _Fields:
    """The tokenizer's metadata by short name; None where there is none."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def get(self, name: str) -> Any:
        field = self._reader.get_field(f"tokenizer.ggml.{name}")
        return None if field is None else field.contents()

    def template(self) -> str | None:
        field = self._reader.get_field("tokenizer.chat_template")
        return None if field is None else str(field.contents())


def _build(pieces: list[str], *, merges: list[str], types: list[int], pre: str) -> Tokenizer:
    vocabulary = {piece: token for token, piece in enumerate(pieces)}
    pairs = [_pair(merge) for merge in merges]
    raw = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=pre == "llama-bpe"))
    if pre == "qwen2":
        raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = _pre_tokenizer(pre)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(_added(pieces, types, _CONTROL))
    raw.add_tokens(_added(pieces, types, _USER_DEFINED))
    return raw


def _pair(merge: str) -> tuple[str, str]:
    left, right = merge.split(" ")
    return left, right


def _added(pieces: list[str], types: list[int], wanted: int) -> list[AddedToken]:
    return [
        AddedToken(piece, special=wanted == _CONTROL, normalized=False)
        for piece, kind in zip(pieces, types, strict=True)
        if kind == wanted
    ]


def _pre_tokenizer(pre: str) -> Any:
    match pre:
        case "gpt-2":
            return pre_tokenizers.ByteLevel(add_prefix_space=False)
        case "smollm":
            return _in_turn(
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            )
        case "llama-bpe":
            return _words(digits="{1,3}")
        case "qwen2":
            return _words(digits="")
        case _:
            raise UnsupportedTokenizer(
                f"GGUF pre-tokenizer {pre!r} is not supported; "
                "'gpt-2', 'smollm', 'llama-bpe' and 'qwen2' are"
            )


def _words(*, digits: str) -> Any:
    return _in_turn(
        pre_tokenizers.Split(Regex(_WORDS.format(digits=digits)), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    )


def _in_turn(*steps: Any) -> Any:
    return pre_tokenizers.Sequence(list(steps))


def _open_with(raw: Tokenizer, piece: str, token: int) -> None:
    raw.post_processor = processors.TemplateProcessing(
        single=f"{piece} $A", special_tokens=[(piece, token)]
    )
