"""A config.json is either understood exactly or refused with a sentence."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicas.model.config import LinearScaling, Llama3Scaling, ModelConfig
from replicas.model.errors import CorruptConfig, ModelError, ModelNotFound, UnsupportedModel
from replicas.model.hf_config import parse_hf_config, read_hf_config
from replicas.model.settings import Settings

LLAMA: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def parse(**changes: object) -> ModelConfig:
    return parse_hf_config(Settings({**LLAMA, **changes}, "config.json"))


def test_a_llama_is_read() -> None:
    config = parse()
    assert (config.heads, config.kv_heads, config.group, config.head_dim) == (4, 2, 2, 16)
    assert config.rope.theta == 5000.0
    assert config.rope.scaling is None
    assert not config.tied_embeddings
    assert not config.qkv_bias
    assert not config.qk_norm


def test_families_differ_in_bias_and_norm_only() -> None:
    qwen2 = parse(architectures=["Qwen2ForCausalLM"], attention_bias=True)
    qwen3 = parse(architectures=["Qwen3ForCausalLM"], head_dim=32)
    assert (qwen2.qkv_bias, qwen2.qk_norm) == (True, False)
    assert (qwen3.qkv_bias, qwen3.qk_norm, qwen3.head_dim) == (False, True, 32)
    assert parse(architectures=["MistralForCausalLM"]) == parse()


def test_without_key_value_heads_every_query_head_has_its_own() -> None:
    values = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert parse_hf_config(Settings(values, "config.json")).kv_heads == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": LLAMA3},
        {"rope_scaling": {**LLAMA3, "type": "linear"}},  # both keys: the newer one counts
        {"rope_parameters": {**LLAMA3, "rope_theta": 5000.0}},
    ],
)
def test_rotary_scaling_is_read_in_old_and_new_style(changes: dict[str, object]) -> None:
    rope = parse(**changes).rope
    assert rope.theta == 5000.0
    assert rope.scaling == Llama3Scaling(8.0, 1.0, 4.0, 64)


def test_the_oldest_style_of_linear_scaling_is_read() -> None:
    assert parse(rope_scaling={"type": "linear", "factor": 2}).rope.scaling == LinearScaling(2.0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM"),
        ({"architectures": [], "model_type": "bert"}, "bert"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ({"sliding_window": 128}, "Sliding-window"),
        ({"layer_types": ["sliding_attention"]}, "layer_types"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"partial_rotary_factor": 0.5}, "Partial rotary"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        parse(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["MistralForCausalLM"], "sliding_window": 256},  # as wide as the context
        {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 8, "use_sliding_window": False},
    ],
)
def test_a_window_that_hides_nothing_is_no_obstacle(changes: dict[str, object]) -> None:
    assert parse(**changes).context_tokens_max == 256


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", 0),
        ("vocab_size", True),
        ("hidden_size", -64),
        ("hidden_size", 1e3),
        ("hidden_size", 10**30),
        ("num_hidden_layers", "2"),
        ("num_attention_heads", None),
        ("num_attention_heads", 5),  # 64 does not divide into 5
        ("num_key_value_heads", 3),
        ("head_dim", 15),
        ("rms_norm_eps", float("nan")),
        ("rope_theta", float("inf")),
        ("rope_theta", 0),
        ("tie_word_embeddings", "yes"),
        ("architectures", "LlamaForCausalLM"),
        ("rope_scaling", [1]),
        ("rope_scaling", {**LLAMA3, "low_freq_factor": 4.0}),
        ("rope_scaling", {"rope_type": "llama3"}),
    ],
)
def test_an_impossible_value_is_a_clear_error(key: str, value: object) -> None:
    with pytest.raises(CorruptConfig):
        parse(**{key: value})


def test_an_error_names_the_key_the_value_and_the_file() -> None:
    with pytest.raises(CorruptConfig, match=r"'vocab_size' in config\.json is 'many'"):
        parse(vocab_size="many")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)
KEYS = (*LLAMA, "head_dim", "rope_scaling", "rope_parameters", "layer_types", "sliding_window")


@given(st.sampled_from(KEYS), JSON)
def test_any_value_anywhere_gives_a_config_or_a_model_error(key: str, value: object) -> None:
    try:
        config = parse(**{key: value})
    except ModelError:
        return
    assert config.heads % config.kv_heads == 0


@given(st.binary(max_size=64))
def test_any_bytes_as_a_file_give_a_model_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ModelError):
        (Path(folder) / "config.json").write_bytes(content)
        read_hf_config(Path(folder))


def test_deep_nesting_does_not_escape_as_a_recursion_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(CorruptConfig):
        read_hf_config(tmp_path)


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        read_hf_config(tmp_path)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert read_hf_config(tmp_path) == parse()
