"""A tokenizer small enough to calculate with by hand: every byte is a token.

Token ids 0 to 255 are the bytes; three special tokens follow. With it goes a
chat template in the ChatML style.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from orchestrator.gateway.token_bytes import byte_characters
from orchestrator.gateway.tokenizer import Tokenizer as GatewayTokenizer
from orchestrator.gateway.tokenizer import load_tokenizer

END_OF_TEXT, START, END = 256, 257, 258
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCAB_SIZE = 259

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def raw_tokenizer(merges: tuple[tuple[str, str], ...] = ()) -> Tokenizer:
    """The tokenizer itself; merges add tokens after the special ones' ids."""
    vocabulary = byte_characters()
    vocabulary |= {piece: END_OF_TEXT + place for place, piece in enumerate(SPECIAL)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    raw = Tokenizer(models.BPE(vocabulary, list(merges)))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in SPECIAL])
    return raw


def write_model_folder(folder: Path) -> Path:
    """The files that a model's folder has for its tokenizer."""
    raw_tokenizer().save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "bos_token": None, "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [END_OF_TEXT, END]}))
    return folder


def byte_tokenizer(folder: Path) -> GatewayTokenizer:
    return load_tokenizer(write_model_folder(folder))


def text_of(tokenizer: GatewayTokenizer, tokens: Iterable[int]) -> str:
    """What the tokens add to a text, all at once."""
    return b"".join(map(tokenizer.visible_bytes, tokens)).decode(errors="replace")
