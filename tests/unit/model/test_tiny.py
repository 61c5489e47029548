"""The tiny model is the same everywhere, complete, and lively enough to test with."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from protos.messages import SamplingParams
from replicas.engine.plan import BlockId, Row, Sample, StepPlan
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import ModelSource
from replicas.model.tiny import CONFIG, SPECIAL, write_tiny

FILES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load_model(ModelSource("tiny", folder), device="cpu", dtype="auto")


def continue_greedily(model: LoadedModel, prompt: tuple[int, ...], tokens: int) -> list[int]:
    runner = TorchRunner(model, blocks_total=16, block_size=16)
    table = tuple(BlockId(n) for n in range(16))
    output: list[int] = []
    start = 0
    while len(output) < tokens:
        sample = Sample(SamplingParams(tokens_max=tokens, temperature=0), 0, prompt, tuple(output))
        known = (*prompt, *output)
        outcome = runner.run(StepPlan((), (Row(known[start:], start, table, (sample,)),)))
        start = len(known)
        output.append(outcome.sampled[0][0].token)
    return output


def test_the_folder_is_complete_and_nothing_else_is_left(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == FILES
    assert list(folder.parent.iterdir()) == [folder]


def test_two_writings_are_equal_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    again = write_tiny(tmp_path)
    for name in FILES:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_second_call_writes_nothing(folder: Path) -> None:
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert write_tiny(folder.parent) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_users_cache_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert write_tiny().parent == tmp_path / "blockyard"


def test_processes_that_come_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = pool.map(write_tiny, [tmp_path] * 4)
    assert len(set(folders)) == 1
    assert list(tmp_path.iterdir()) == [folders[0]]


def test_the_configuration_read_back_is_the_one_written(model: LoadedModel) -> None:
    assert model.config == CONFIG


def test_a_token_is_a_byte(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "Grüße, 世界!\n"
    assert tokenizer.encode(text).ids == list(text.encode())
    assert tokenizer.decode(list(text.encode())) == text
    assert tokenizer.encode("".join(SPECIAL)).ids == [256, 257, 258]
    assert tokenizer.get_vocab_size() == CONFIG.vocab_size


def test_greedy_output_varies_and_depends_on_the_prompt(model: LoadedModel) -> None:
    one = continue_greedily(model, tuple(b"Hello"), 64)
    other = continue_greedily(model, tuple(b"hello"), 64)
    assert len(set(one)) > 16
    assert sum(a != b for a, b in zip(one, other, strict=True)) > 32


def test_greedy_output_is_readable_and_never_ends_by_itself(model: LoadedModel) -> None:
    output = bytes(continue_greedily(model, tuple(b"Once upon a time"), 200)).decode("ascii")
    assert all(character.isprintable() or character == "\n" for character in output)
