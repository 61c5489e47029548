"""GGUF files give back the tensors and the configuration they were written from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from torch import Tensor

from replicas.model.config import LinearScaling, ModelConfig, RopeConfig
from replicas.model.errors import CorruptWeights, ModelError, UnsupportedModel
from replicas.model.gguf_file import GLOBAL_NAMES, LAYER_NAMES, open_gguf
from replicas.model.stored import check_tensors
from tests.unit.model.checkpoints import SMALL, random_tensors

Array = npt.NDArray[np.float32]


def gguf_name(name: str) -> str:
    for theirs, ours in GLOBAL_NAMES.items():
        if name == ours:
            return theirs
    _, _, layer, part = name.split(".", 3)
    module, kind = part.rsplit(".", 1)
    theirs = next(gguf for gguf, ours in LAYER_NAMES.items() if ours == module)
    return f"blk.{layer}.{theirs}.{kind}"


def interleave(weight: Array, heads: int) -> Array:
    """What a converter to the `llama` architecture does to query and key weights."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write_gguf(
    path: Path, config: ModelConfig, tensors: dict[str, Tensor], architecture: str = "llama"
) -> Path:
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context_tokens_max)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    for name, tensor in tensors.items():
        values: Array = tensor.numpy()
        if architecture == "llama" and name.endswith("q_proj.weight"):
            values = interleave(values, config.heads)
        if architecture == "llama" and name.endswith("k_proj.weight"):
            values = interleave(values, config.kv_heads)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    return finish(writer, path)


def bare_writer(path: Path) -> GGUFWriter:
    """A header with what a Llama needs and no tensors, to which a test adds its own matter."""
    writer = GGUFWriter(path, "llama")
    for key in ("block_count", "embedding_length", "feed_forward_length", "context_length"):
        writer.add_uint32(f"llama.{key}", 32)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    return writer


def finish(writer: GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("llama", SMALL),
        ("llama", replace(SMALL, tied_embeddings=True)),
        ("qwen2", replace(SMALL, qkv_bias=True)),
        ("qwen3", replace(SMALL, qk_norm=True, head_dim=8)),
    ],
)
def test_tensors_and_configuration_survive_the_format(
    tmp_path: Path, architecture: str, config: ModelConfig
) -> None:
    written = random_tensors(config)
    path = write_gguf(tmp_path / "m.gguf", config, written, architecture)
    read_config, stored = open_gguf(path)
    assert replace(read_config, norm_eps=config.norm_eps) == config
    assert read_config.norm_eps == pytest.approx(config.norm_eps)
    check_tensors(config, stored)
    for name, tensor in written.items():
        assert torch.equal(stored[name].read(), tensor), name


def test_quantised_tensors_are_expanded(tmp_path: Path) -> None:
    """Within half a step of the values that were quantised."""
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
    writer = bare_writer(tmp_path / "m.gguf")
    kind = GGMLQuantizationType.Q8_0
    writer.add_tensor("token_embd.weight", quantize(values, kind), raw_dtype=kind)
    _, stored = open_gguf(finish(writer, tmp_path / "m.gguf"))
    embedding = stored["model.embed_tokens.weight"]
    assert embedding.shape == (2, 32)
    assert torch.allclose(embedding.read(), torch.from_numpy(values), atol=0.51 / 127)


def test_linear_rotary_scaling_is_read(tmp_path: Path) -> None:
    writer = bare_writer(tmp_path / "m.gguf")
    writer.add_uint32("llama.vocab_size", 7)
    writer.add_string("llama.rope.scaling.type", "linear")
    writer.add_float32("llama.rope.scaling.factor", 4.0)
    config, _ = open_gguf(finish(writer, tmp_path / "m.gguf"))
    assert config.rope == RopeConfig(10000.0, LinearScaling(4.0))


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", SMALL, random_tensors(), "gemma")
    with pytest.raises(UnsupportedModel, match="gemma"):
        open_gguf(path)


def test_rotary_factors_in_a_tensor_are_refused_by_name(tmp_path: Path) -> None:
    writer = bare_writer(tmp_path / "m.gguf")
    writer.add_tensor("rope_freqs.weight", np.ones(2, dtype=np.float32))
    with pytest.raises(UnsupportedModel, match="rope_freqs"):
        open_gguf(finish(writer, tmp_path / "m.gguf"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, share: float) -> None:
    path = write_gguf(tmp_path / "m.gguf", SMALL, random_tensors())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CorruptWeights, match=r"m\.gguf"):
        open_gguf(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("GGUF, or so it says, but this is a text of some length")
    with pytest.raises(ModelError, match=r"text\.gguf"):
        open_gguf(path)


def test_an_array_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    """A reader that goes on with nothing past the end would do so two billion times."""
    writer = bare_writer(tmp_path / "m.gguf")
    writer.add_array("x", [7, 8, 9])
    path = finish(writer, tmp_path / "m.gguf")
    content = path.read_bytes()
    count = content.index((3).to_bytes(8, "little") + (7).to_bytes(4, "little"))
    values = content[count + 8 : count + 8 + 3 * 4]
    path.write_bytes(content[:count] + (2**31).to_bytes(8, "little") + values)
    with pytest.raises(CorruptWeights, match=r"m\.gguf is no intact GGUF file: it ends"):
        open_gguf(path)


def test_arrays_in_arrays_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    array, one = (9).to_bytes(4, "little"), (1).to_bytes(8, "little")
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + one
    path.write_bytes(head + one + b"x" + array + (array + one) * 5000)
    with pytest.raises(CorruptWeights, match=r"m\.gguf is no intact GGUF file"):
        open_gguf(path)


def test_tensors_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", SMALL, random_tensors())
    content = path.read_bytes()
    name = b"blk.1.attn_v.weight"
    at = content.index(name) + len(name) + 4 + 2 * 8 + 4  # past dimensions, sizes and type
    path.write_bytes(content[:at] + (0).to_bytes(8, "little") + content[at + 8 :])
    with pytest.raises(CorruptWeights, match=r"m\.gguf begins inside of another tensor"):
        open_gguf(path)


def test_one_layer_under_two_names_is_refused(tmp_path: Path) -> None:
    """An Arabic digit is a digit, too: it must not stand for the other spelling."""
    writer = bare_writer(tmp_path / "m.gguf")
    writer.add_uint32("llama.vocab_size", 7)
    for name in ("blk.1.attn_v.weight", "blk.\N{ARABIC-INDIC DIGIT ONE}.attn_v.weight"):
        writer.add_tensor(name, np.ones((2, 2), dtype=np.float32))
    _, stored = open_gguf(finish(writer, tmp_path / "m.gguf"))
    assert len(stored) == 2


@pytest.mark.parametrize("shape", [(0, 32), (32, 0)])
def test_a_vocabulary_of_nothing_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    writer = bare_writer(tmp_path / "m.gguf")
    writer.add_tensor("token_embd.weight", np.ones(shape, dtype=np.float32))
    path = finish(writer, tmp_path / "m.gguf")
    with pytest.raises(ModelError, match=r"vocab_size|shape|lack"):
        config, stored = open_gguf(path)
        check_tensors(config, stored)
