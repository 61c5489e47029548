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

import numpy as np
from gguf import GGUFReader
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


# The replicas read their weights by the same class (gguf_file.py), word for word: neither side
# may import the other, and what both may import knows no libraries of models.
class MappedFile(GGUFReader):
    """A reader that is quick, and that ends where its file does.

    Slices of a memmap cost three times those of a plain array, and a vocabulary is many.
    Past the end the library would go on with nothing, for as long as a count claims.
    """

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, mapped: Any) -> None:
        self._data = np.asarray(mapped)

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        values = super()._get(offset, dtype, count, override_order)
        if len(values) != count:
            raise ValueError(f"it ends before the {count} values that should be at {offset}")
        return values


def read_gguf(path: Path) -> TokenizerParts:
    """Raises UnsupportedTokenizer, naming the model or pre-tokenizer it does not know, or the
    field that is not what it should be."""
    fields = _Fields(path)
    kind = fields.text("model")
    if kind != "gpt2":
        raise UnsupportedTokenizer(f"GGUF tokenizer model {kind!r} is not supported; 'gpt2' is")
    pre = fields.text("pre")
    pieces = fields.texts("tokens")
    raw = _build(
        pieces,
        merges=fields.texts("merges"),
        types=fields.types(len(pieces)),
        pre=pre,
    )
    ends = [
        fields.token(name, len(pieces)) for name in ("eos_token_id", "eot_token_id", "eom_token_id")
    ]
    eos_ids = [token for token in ends if token is not None]
    bos = fields.token("bos_token_id", len(pieces))
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
    """The tokenizer's metadata by short name, each value of the type that it should have."""

    def __init__(self, path: Path) -> None:
        try:
            self._values = {
                name: field.contents()
                for name, field in MappedFile(path).fields.items()
                if name.startswith("tokenizer.")
            }
        # The reader checks little: damage shows as whatever the next operation raises.
        except (ValueError, LookupError, OverflowError, RecursionError) as error:
            said = f"{path.name} is no intact GGUF file: {str(error)[:500]}"
            raise UnsupportedTokenizer(said) from error

    def get(self, name: str) -> Any:
        """None where there is none."""
        return self._values.get(f"tokenizer.ggml.{name}")

    def text(self, name: str) -> str | None:
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise _bad(name, "a text")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.get(name)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise _bad(name, "a list of texts")
        return value

    def types(self, count: int) -> list[int]:
        value = self.get("token_type")
        if not isinstance(value, list) or len(value) != count:
            raise _bad("token_type", f"a list of {count} numbers")
        return value

    def token(self, name: str, count: int) -> int | None:
        value = self.get(name)
        if value is not None and (type(value) is not int or not 0 <= value < count):
            raise _bad(name, f"a token id below {count}")
        return value

    def template(self) -> str | None:
        value = self._values.get("tokenizer.chat_template")
        return None if value is None else str(value)


def _bad(name: str, wanted: str) -> UnsupportedTokenizer:
    return UnsupportedTokenizer(f"tokenizer.ggml.{name} must be {wanted}")


def _build(pieces: list[str], *, merges: list[str], types: list[int], pre: str | None) -> Tokenizer:
    vocabulary = {piece: token for token, piece in enumerate(pieces)}
    pairs = [_pair(merge) for merge in merges]
    try:
        raw = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=pre == "llama-bpe"))
    except ValueError as error:  # a merge of what is in no vocabulary
        raise UnsupportedTokenizer(f"tokens and merges do not fit: {str(error)[:500]}") from error
    if pre == "qwen2":
        raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = _pre_tokenizer(pre)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(_added(pieces, types, _CONTROL))
    raw.add_tokens(_added(pieces, types, _USER_DEFINED))
    return raw


def _pair(merge: str) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not space or " " in right:
        raise UnsupportedTokenizer(f"{merge[:100]!r} is no merge of two tokens")
    return left, right


def _added(pieces: list[str], types: list[int], wanted: int) -> list[AddedToken]:
    return [
        AddedToken(piece, special=wanted == _CONTROL, normalized=False)
        for piece, kind in zip(pieces, types, strict=True)
        if kind == wanted
    ]


def _pre_tokenizer(pre: str | None) -> Any:
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
