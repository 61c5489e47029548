"""Whatever values stand in a file, its parser answers with the promised types or refuses."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replicas.delivery.contents import SHARDS_MAX, shards
from replicas.delivery.errors import RemoteUnsound
from replicas.delivery.gguf_head import NeedsMore, head_bytes
from replicas.model.config import ModelConfig
from replicas.model.errors import ModelError
from replicas.model.hf_config import parse_hf_config
from replicas.model.settings import Settings

SOUND: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
OTHERS = ("head_dim", "rope_scaling", "rope_parameters", "tie_word_embeddings", "sliding_window")
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 2**63, 10**400, -(10**400), 5e-324])
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)
ROPE = st.fixed_dictionaries(
    {},
    optional={
        "rope_type": st.sampled_from(["default", "linear", "llama3", "yarn"]),
        **dict.fromkeys(
            ("rope_theta", "factor", "low_freq_factor", "high_freq_factor"),
            st.one_of(VALUES, st.floats(1, 100)),
        ),
        "original_max_position_embeddings": st.one_of(VALUES, st.integers(1, 100)),
    },
)


def check_finite(config: ModelConfig) -> None:
    """Every number is one, and large or small enough to be allocated for."""
    for value in (*asdict(config).values(), config.rope.theta):
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert math.isfinite(value) and value > 0
    assert config.layers <= 1 << 10 and config.hidden_size <= 1 << 20


@given(
    st.dictionaries(st.sampled_from([*SOUND, *OTHERS]), VALUES, max_size=3),
    st.one_of(st.just({}), ROPE),
)
@example({"rope_theta": 10**400}, {})
@example({"vocab_size": True}, {})
@example({"rope_theta": math.nan}, {})
def test_any_values_make_a_finite_configuration_or_a_sentence(
    changed: dict[str, Any], rope: dict[str, Any]
) -> None:
    settings = Settings({**SOUND, "rope_scaling": rope, **changed}, "config.json")
    try:
        config = parse_hf_config(settings)
    except ModelError as error:
        assert len(str(error)) > 10
    else:
        check_finite(config)


@given(st.one_of(VALUES, st.dictionaries(st.just("weight_map"), VALUES)))
def test_an_index_names_a_few_plain_files_or_is_refused(index: Any) -> None:
    try:
        names = shards(json.dumps(index).encode())
    except RemoteUnsound:
        return
    assert 0 < len(names) <= SHARDS_MAX
    assert all("/" not in name and len(name) < 255 for name in names)


@given(st.one_of(st.binary(), st.binary().map(lambda rest: b"GGUF\x03\0\0\0" + rest)))
def test_the_head_of_any_bytes_ends_within_them(content: bytes) -> None:
    with suppress(NeedsMore, RemoteUnsound):
        assert 0 < head_bytes(content) <= len(content)


def test_a_message_that_a_file_makes_long_is_cut() -> None:
    with pytest.raises(ModelError) as caught:
        parse_hf_config(Settings({"architectures": ["x" * 10**6]}, "config.json"))
    assert len(str(caught.value)) < 2000
