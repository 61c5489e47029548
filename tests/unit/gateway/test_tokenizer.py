from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import processors

from orchestrator.gateway.tokenizer import UnsupportedTokenizer, load_tokenizer
from tests.unit.gateway.byte_model import (
    END,
    END_OF_TEXT,
    START,
    VOCAB_SIZE,
    byte_tokenizer,
    raw_tokenizer,
    text_of,
    write_model_folder,
)


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def test_a_folder_gives_vocabulary_end_tokens_and_template(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(tmp_path)
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert tokenizer.eos_ids == {END_OF_TEXT, END}
    assert tokenizer.chat_template is not None


def test_tokens_that_were_added_later_do_not_make_the_vocabulary_larger(tmp_path: Path) -> None:
    write_model_folder(tmp_path)
    raw = raw_tokenizer()
    raw.add_tokens(["<tool>"])
    raw.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert tokenizer.spelled_bytes(VOCAB_SIZE) == b"<tool>"


def test_end_tokens_come_from_every_file_that_is_right_about_them(tmp_path: Path) -> None:
    write_model_folder(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    write(tmp_path, "config.json", {"eos_token_id": START})
    assert load_tokenizer(tmp_path).eos_ids == {START, END}
    write(tmp_path, "generation_config.json", {"eos_token_id": END_OF_TEXT})
    assert load_tokenizer(tmp_path).eos_ids == {END_OF_TEXT, END}


def test_tokenizer_json_alone_is_enough_for_completions(tmp_path: Path) -> None:
    raw_tokenizer().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_ids == frozenset()
    assert tokenizer.chat_template is None
    assert tokenizer.encode_text("hi") == tuple(b"hi")


def test_a_template_file_comes_before_the_one_in_the_configuration(tmp_path: Path) -> None:
    write_model_folder(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0]['content'] }}{{ eos_token }}")
    template = load_tokenizer(tmp_path).chat_template
    assert template is not None
    assert template.render([{"role": "user", "content": "x"}]) == "x<|im_end|>"


def test_of_several_named_templates_the_default_one_is_used(tmp_path: Path) -> None:
    write_model_folder(tmp_path)
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    write(
        tmp_path, "tokenizer_config.json", {"chat_template": named, "eos_token": {"content": "a"}}
    )
    template = load_tokenizer(tmp_path).chat_template
    assert template is not None
    assert template.render([]) == "yes"


def test_only_a_bare_text_is_opened_with_the_begin_token(tmp_path: Path) -> None:
    raw = raw_tokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", END_OF_TEXT)]
    )
    raw.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode_text("hi") == (END_OF_TEXT, *b"hi")
    assert tokenizer.encode_conversation("hi") == tuple(b"hi")


def test_a_tokenizer_that_closes_texts_is_refused(tmp_path: Path) -> None:
    raw = raw_tokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", END_OF_TEXT)]
    )
    raw.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedTokenizer, match="after a text"):
        load_tokenizer(tmp_path)


def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UnsupportedTokenizer, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError):
        load_tokenizer(tmp_path)


def test_truncation_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    raw = raw_tokenizer()
    raw.enable_truncation(4)
    raw.enable_padding(length=8)
    raw.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode_text("abcdef") == tuple(b"abcdef")


def test_special_and_unknown_tokens_have_no_text_but_special_ones_a_spelling(
    tmp_path: Path,
) -> None:
    tokenizer = byte_tokenizer(tmp_path)
    assert text_of(tokenizer, [*b"a", END, *b"b", 99_999]) == "ab"
    assert tokenizer.spelled_bytes(END) == b"<|im_end|>"
    assert tokenizer.spelled_bytes(99_999) == b""


def test_ids_with_gigabytes_between_them_are_refused(tmp_path: Path) -> None:
    """A table of all ids is made: a file of some kilobytes must not decide its size."""
    write_model_folder(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    saved["model"]["vocab"]["zz"] = 4_000_000_000
    write(tmp_path, "tokenizer.json", saved)
    with pytest.raises(UnsupportedTokenizer, match="ids up to 4000000001"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer_config.json", {"eos_token": 5}, "a token in tokenizer_config.json"),
        ("tokenizer_config.json", {"bos_token": "\ud800"}, "a token in tokenizer_config.json"),
        ("tokenizer_config.json", {"chat_template": {}}, "the chat template is not a text"),
        ("tokenizer_config.json", {"chat_template": "{% for %}"}, "not Jinja"),
        ("generation_config.json", {"eos_token_id": "two"}, "eos_token_id in generation_config"),
        ("generation_config.json", {"eos_token_id": [-1]}, "eos_token_id in generation_config"),
        ("generation_config.json", [], "generation_config.json holds no object"),
    ],
)
def test_what_is_not_of_its_type_is_refused_by_name(
    tmp_path: Path, name: str, content: object, said: str
) -> None:
    write_model_folder(tmp_path)
    write(tmp_path, name, content)
    with pytest.raises(UnsupportedTokenizer, match=said):
        load_tokenizer(tmp_path)
