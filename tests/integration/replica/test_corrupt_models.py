"""Damaged models given to `python -m replicas`: one line saying what is wrong, and exit code 2."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from replicas.model.tiny import write_tiny

START_S = 120.0  # importing torch, on a busy machine


def truncate_data(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1000])


def truncate_header(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:1000])


def garble_header(weights: Path) -> None:
    """The length of the header stays, and leads to what is no JSON."""
    content = bytearray(weights.read_bytes())
    content[8:200] = b"\x00" * 192
    weights.write_bytes(content)


def drop_tensor(weights: Path) -> None:
    tensors = load_file(weights)
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, weights)


def transpose_tensor(weights: Path) -> None:
    tensors = load_file(weights)
    name = "model.layers.2.mlp.up_proj.weight"
    tensors[name] = tensors[name].T.contiguous()
    save_file(tensors, weights)


def lose_shard(weights: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}
    (weights.parent / "model.safetensors.index.json").write_text(json.dumps(index))


DAMAGES: dict[Callable[[Path], None], tuple[str, ...]] = {
    truncate_data: ("model.safetensors",),
    truncate_header: ("model.safetensors",),
    garble_header: ("model.safetensors",),
    drop_tensor: ("model.layers.2.mlp.up_proj.weight", "model.safetensors"),
    transpose_tensor: ("model.layers.2.mlp.up_proj.weight", "model.safetensors"),
    lose_shard: ("model-00001-of-00001.safetensors",),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage.__name__))
def test_damaged_weights_are_one_line_and_exit_code_2(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(write_tiny(tmp_path / "sound"), folder)
    damage(folder / "model.safetensors")
    done = subprocess.run(
        [sys.executable, "-m", "replicas", "--model", str(folder), "--blocks", "8"],
        capture_output=True,
        text=True,
        timeout=START_S,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for name in DAMAGES[damage]:
        assert name in done.stderr
