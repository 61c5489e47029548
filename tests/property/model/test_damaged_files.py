"""A damaged model is refused in a sentence, or is a model still: nothing else can come of it.

Small sound files are damaged in hundreds of ways and read by a process of its own
with little memory and time (reader.py). What happens to these limits in it shows
as an error that nobody promised, and a crash as its end.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import save_file

from orchestrator.gateway.token_bytes import UnsupportedTokenizer
from replicas.model import errors
from tests.property.model.mutations import (
    BLIND,
    Mutation,
    damage_gguf,
    damage_json,
    damage_safetensors,
)
from tests.unit.gateway.byte_model import write_model_folder
from tests.unit.gateway.test_tokenizer_gguf import write_gguf as write_tokenizer_gguf
from tests.unit.model.checkpoints import SMALL, random_tensors, write_folder
from tests.unit.model.test_gguf_file import write_gguf

ROOT = Path(__file__).parents[3]
CASES = 240  # of each kind of file
PROCESS_S = 300
SENTENCE_MAX = 2000
MODEL_ERRORS = {name for name, each in vars(errors).items() if isinstance(each, type)}
TOKENIZER_ERRORS = {UnsupportedTokenizer.__name__, FileNotFoundError.__name__}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the reader said of one file; no error: it is a model."""

    path: Path
    error: str
    says: str


def read_all(kind: str, sound: Path, damaged: Sequence[Path]) -> list[Outcome]:
    """Let another process read them. It must live to read the last."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.property.model.reader", kind, sound, *damaged],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        cwd=ROOT,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if len(lines) < len(damaged):
        raise AssertionError(
            f"exit status {done.returncode} at {damaged[len(lines)]}: {done.stderr[-2000:]}"
        )
    return [Outcome(Path(line["path"]), line["error"], line["says"]) for line in lines]


def judge(outcomes: Sequence[Outcome], allowed: set[str]) -> Counter[str]:
    """Every error is of an allowed kind and says what is the matter; how often each came."""
    wrong = [each for each in outcomes if each.error and each.error not in allowed]
    assert not wrong, "\n".join(f"{each.path}: {each.error}: {each.says}" for each in wrong[:20])
    for each in outcomes:
        assert not each.error or 10 < len(each.says) <= SENTENCE_MAX, each
    return Counter(each.error or "sound" for each in outcomes)


def damage_folder(
    sound: Path, name: str, into: Path, mutations: Sequence[Mutation], seed: int
) -> list[Path]:
    """Copies of a folder, in each of which one file is damaged."""
    rng = random.Random(seed)
    content = (sound / name).read_bytes()
    folders = []
    for number in range(CASES):
        folder = into / f"{number}"
        shutil.copytree(sound, folder)
        (folder / name).write_bytes(rng.choice(mutations)(rng, content))
        folders.append(folder)
    return folders


def damage_file(sound: Path, into: Path, mutations: Sequence[Mutation], seed: int) -> list[Path]:
    """Damaged copies of a file."""
    rng = random.Random(seed)
    content = sound.read_bytes()
    paths = [into / f"{number}{sound.suffix}" for number in range(CASES)]
    into.mkdir()
    for path in paths:
        path.write_bytes(rng.choice(mutations)(rng, content))
    return paths


def write_shards(folder: Path) -> Path:
    """A model in two weight files, and the index that names them."""
    tensors = random_tensors()
    write_folder(folder, tensors)
    (folder / "model.safetensors").unlink()
    first = {name: tensor for name, tensor in tensors.items() if "layers.0" in name}
    rest = {name: tensor for name, tensor in tensors.items() if name not in first}
    save_file(first, folder / "a.safetensors")
    save_file(rest, folder / "b.safetensors")
    file_of = {name: "a.safetensors" if name in first else "b.safetensors" for name in tensors}
    index = {"weight_map": file_of}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("name", "mutations"),
    [
        ("config.json", (damage_json,) * 12 + BLIND),
        ("model.safetensors", (damage_safetensors,) * 3 + BLIND),
        ("model.safetensors.index.json", (damage_json,) * 12 + BLIND),
    ],
)
def test_a_damaged_folder_is_a_model_or_a_sentence(
    tmp_path: Path, name: str, mutations: Sequence[Mutation]
) -> None:
    sound = tmp_path / "sound"
    if "index" in name:
        write_shards(sound)
    else:
        write_folder(sound, random_tensors())
    damaged = damage_folder(sound, name, tmp_path / "damaged", mutations, seed=1)
    came_of_it = judge(read_all("model", sound, damaged), MODEL_ERRORS)
    assert came_of_it.total() > came_of_it["sound"] + CASES // 3, came_of_it


def test_a_damaged_gguf_file_is_a_model_or_a_sentence(tmp_path: Path) -> None:
    sound = write_gguf(tmp_path / "sound.gguf", SMALL, random_tensors())
    mutations = (damage_gguf,) * 5 + BLIND
    damaged = damage_file(sound, tmp_path / "damaged", mutations, seed=2)
    came_of_it = judge(read_all("model", sound, damaged), MODEL_ERRORS)
    assert came_of_it.total() > came_of_it["sound"] + CASES // 3, came_of_it


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
def test_a_damaged_tokenizer_is_one_or_a_sentence(tmp_path: Path, name: str) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    write_model_folder(sound)
    mutations = (damage_json,) * 12 + BLIND
    damaged = damage_folder(sound, name, tmp_path / "damaged", mutations, seed=3)
    came_of_it = judge(read_all("tokenizer", sound, damaged), TOKENIZER_ERRORS)
    assert came_of_it.total() > came_of_it["sound"] + CASES // 3, came_of_it


def test_a_damaged_tokenizer_in_a_gguf_file_is_one_or_a_sentence(tmp_path: Path) -> None:
    sound = write_tokenizer_gguf(tmp_path / "sound.gguf")
    mutations = (damage_gguf,) * 5 + BLIND
    damaged = damage_file(sound, tmp_path / "damaged", mutations, seed=4)
    came_of_it = judge(read_all("tokenizer", sound, damaged), TOKENIZER_ERRORS)
    assert came_of_it.total() > came_of_it["sound"] + CASES // 3, came_of_it
