"""What a model's folder says about its tokenizer (the layout of Hugging Face).

`tokenizer.json` is the tokenizer itself; the files beside it name the tokens
that open and end a text, and the chat template. Where several files name end
tokens, generation_config.json is asked before config.json, and the
tokenizer's own end token counts as well: models finetuned for chat often
change one and forget the other. None of these files has been checked by anybody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from orchestrator.gateway.token_bytes import TOKENS_MAX, UnsupportedTokenizer


@dataclass(frozen=True, slots=True)
class TokenizerParts:
    """All that a Tokenizer is made of."""

    raw: tokenizers.Tokenizer
    eos_ids: frozenset[int]
    chat_template: str | None
    bos_token: str
    eos_token: str


def read_folder(folder: Path) -> TokenizerParts:
    """Raises FileNotFoundError without tokenizer.json, UnsupportedTokenizer if it is no such."""
    raw = _read_tokenizer(folder / "tokenizer.json")
    config = _read_json(folder / "tokenizer_config.json")
    eos_token = _token_text(config.get("eos_token"))
    eos_ids = set(_end_ids(folder))
    eos_id = raw.token_to_id(eos_token) if eos_token else None
    if eos_id is not None:
        eos_ids.add(eos_id)
    return TokenizerParts(
        raw=raw,
        eos_ids=frozenset(eos_ids),
        chat_template=_chat_template(folder, config),
        bos_token=_token_text(config.get("bos_token")),
        eos_token=eos_token,
    )


def _read_tokenizer(path: Path) -> tokenizers.Tokenizer:
    content = path.read_bytes()
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except ValueError as error:
        raise UnsupportedTokenizer(f"{path.name} cannot be read: {str(error)[:500]}") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnsupportedTokenizer(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UnsupportedTokenizer(f"{path.name} holds no object")
    return content


def _end_ids(folder: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        named = _read_json(folder / name).get("eos_token_id")
        if named is None:
            continue
        tokens = named if isinstance(named, list) else [named]
        if not all(type(token) is int and 0 <= token < TOKENS_MAX for token in tokens):
            raise UnsupportedTokenizer(f"eos_token_id in {name} must be a token id or a list of it")
        return tuple(tokens)
    return ()


def _token_text(entry: Any) -> str:
    """A token in tokenizer_config.json: a string, or an object with its content."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return "" if entry is None else _text(entry, "a token in tokenizer_config.json")


def _text(value: object, what: str) -> str:
    """The value, if it is a text; JSON can spell halves of characters, too."""
    if isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value):
        return value
    raise UnsupportedTokenizer(f"{what} is not a text")


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    beside = folder / "chat_template.jinja"
    if beside.exists():
        try:
            return beside.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UnsupportedTokenizer(f"{beside.name} is not a text: {error}") from error
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = [each for each in template if isinstance(each, dict)]
        template = next(
            (each.get("template") for each in named if each.get("name") == "default"), None
        )
    return None if template is None else _text(template, "the chat template")
