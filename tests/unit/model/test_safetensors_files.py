"""Damaged, incomplete or dangerous weight files are refused by name, before allocating."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from replicas.model.errors import CorruptWeights, ModelError, ModelNotFound, UnsupportedModel
from replicas.model.loading import LoadedModel, load_model
from replicas.model.safetensors_files import open_safetensors
from replicas.model.source import ModelSource
from tests.unit.model.checkpoints import random_tensors, write_folder

HEAD = "lm_head.weight"
KEY = "model.layers.1.self_attn.k_proj.weight"


def load(folder: Path) -> LoadedModel:
    return load_model(ModelSource("small", folder), device="cpu", dtype="float32")


def test_an_intact_folder_loads(tmp_path: Path) -> None:
    assert load(write_folder(tmp_path, random_tensors())).config.layers == 2


@pytest.mark.parametrize("kept", [0, 7, 8, 100, 5000, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    file = write_folder(tmp_path, random_tensors()) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CorruptWeights, match=r"model\.safetensors is damaged or incomplete"):
        load(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = random_tensors()
    del tensors[KEY]
    with pytest.raises(CorruptWeights, match=KEY):
        load(write_folder(tmp_path, tensors))


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    tensors = random_tensors() | {KEY: torch.zeros(8, 15)}
    with pytest.raises(CorruptWeights, match=rf"{KEY}.*\(8, 15\).*\(8, 16\)"):
        load(write_folder(tmp_path, tensors))


def test_a_tensor_that_the_configuration_does_not_know_is_refused(tmp_path: Path) -> None:
    """A bias that is not read would change every result without a word."""
    bias = "model.layers.0.self_attn.q_proj.bias"
    with pytest.raises(CorruptWeights, match=bias):
        load(write_folder(tmp_path, random_tensors() | {bias: torch.zeros(16)}))


def test_integers_are_not_weights(tmp_path: Path) -> None:
    tensors = random_tensors() | {KEY: torch.zeros(8, 16, dtype=torch.int8)}
    with pytest.raises(UnsupportedModel, match="I8"):
        load(write_folder(tmp_path, tensors))


def test_a_repeated_head_and_old_rotary_buffers_are_ignored(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(2)
    folder = write_folder(tmp_path, tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert load(folder).config.tied_embeddings


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickled_weights_are_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path, random_tensors())
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(UnsupportedModel, match=name):
        load(folder)


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, random_tensors())
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"model\.safetensors"):
        load(folder)


def shard(folder: Path) -> Path:
    """Split the folder's weights over two files; returns the index."""
    tensors = random_tensors()
    write_folder(folder, tensors)
    (folder / "model.safetensors").unlink()
    first = {name: tensor for name, tensor in tensors.items() if "layers.0" in name}
    second = {name: tensor for name, tensor in tensors.items() if name not in first}
    save_file(first, folder / "a.safetensors")
    save_file(second, folder / "b.safetensors")
    file_of = {name: "a.safetensors" if name in first else "b.safetensors" for name in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": file_of}))
    return index


def test_shards_are_one_model(tmp_path: Path) -> None:
    shard(tmp_path)
    stored = open_safetensors(tmp_path)
    assert {name: tensor.read().sum() for name, tensor in stored.items()} == {
        name: tensor.sum() for name, tensor in random_tensors().items()
    }


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shard(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(CorruptWeights, match=r"b\.safetensors"):
        load(tmp_path)


def test_a_tensor_promised_in_the_wrong_shard_is_named(tmp_path: Path) -> None:
    index = shard(tmp_path)
    file_of = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": file_of | {HEAD: "a.safetensors"}}))
    with pytest.raises(CorruptWeights, match=HEAD):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"x": 3}}',
        '{"weight_map": {"x": "../elsewhere.safetensors"}}',
        '{"weight_map": {"x": "/etc/passwd"}}',
        f'{{"weight_map": {{"x": "{"y" * 5000}"}}}}',
    ],
)
def test_a_bad_index_is_refused(tmp_path: Path, content: str) -> None:
    index = shard(tmp_path)
    index.write_text(content)
    with pytest.raises(ModelError, match="index"):
        load(tmp_path)
