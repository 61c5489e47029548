"""Read a Hugging Face `config.json`.

Both ways of writing rotary settings are understood: `rope_parameters`
(transformers 5) and `rope_theta` with `rope_scaling` (before). Architectures
and features that would change the computation and are not implemented are
refused by name; keys that do not change it are ignored.
"""

from __future__ import annotations

import json
from pathlib import Path

from replicas.model.config import (
    CONTEXT_MAX,
    HEAD_DIM_MAX,
    HEADS_MAX,
    LAYERS_MAX,
    ROPE_MAX,
    SIZE_MAX,
    VOCAB_MAX,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    RopeConfig,
)
from replicas.model.errors import CorruptConfig, ModelNotFound, UnsupportedModel
from replicas.model.settings import Settings

LLAMA = "LlamaForCausalLM"
MISTRAL = "MistralForCausalLM"
QWEN2 = "Qwen2ForCausalLM"
QWEN3 = "Qwen3ForCausalLM"
ARCHITECTURES = (LLAMA, MISTRAL, QWEN2, QWEN3)


def read_hf_config(folder: Path) -> ModelConfig:
    """The configuration of the model in `folder`."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelNotFound(f"{folder} has no config.json: no model folder.") from None
    except (ValueError, RecursionError) as error:
        raise CorruptConfig(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise CorruptConfig(f"{path} must hold a JSON object.")
    return parse_hf_config(Settings(values, str(path)))


def parse_hf_config(settings: Settings) -> ModelConfig:
    """The configuration described by these settings, every number checked."""
    architecture = _architecture(settings)
    _refuse_unimplemented(settings, architecture)
    hidden_size = settings.integer("hidden_size", most=SIZE_MAX)
    heads = settings.integer("num_attention_heads", most=HEADS_MAX)
    return ModelConfig(
        vocab_size=settings.integer("vocab_size", most=VOCAB_MAX),
        hidden_size=hidden_size,
        intermediate_size=settings.integer("intermediate_size", most=SIZE_MAX),
        layers=settings.integer("num_hidden_layers", most=LAYERS_MAX),
        heads=heads,
        kv_heads=settings.integer("num_key_value_heads", most=HEADS_MAX, default=heads),
        head_dim=_head_dim(settings, hidden_size=hidden_size, heads=heads),
        context_tokens_max=settings.integer("max_position_embeddings", most=CONTEXT_MAX),
        norm_eps=settings.number("rms_norm_eps", most=1.0, default=1e-6),
        rope=_rope(settings),
        tied_embeddings=settings.flag("tie_word_embeddings", default=False),
        qkv_bias=architecture == QWEN2,
        qk_norm=architecture == QWEN3,
    )


def _architecture(settings: Settings) -> str:
    named = settings.texts("architectures")
    if len(named) != 1 or named[0] not in ARCHITECTURES:
        shown = ", ".join(named) or settings.text("model_type", default="without a name")
        raise UnsupportedModel(
            f"The architecture {shown} in {settings.origin} is not supported; "
            f"supported are {', '.join(ARCHITECTURES)}."
        )
    return named[0]


def _refuse_unimplemented(settings: Settings, architecture: str) -> None:
    origin = settings.origin
    if settings.has("quantization_config"):
        raise UnsupportedModel(
            f"Quantised weights are not supported (quantization_config, {origin})."
        )
    activation = settings.text("hidden_act", default="silu")
    if activation != "silu":
        raise UnsupportedModel(
            f"Of activations only 'silu' is supported: {activation!r}, {origin}."
        )
    # Qwen2 has its bias whatever this key says; elsewhere true means biases not read here.
    for key in ("attention_bias", "mlp_bias"):
        if architecture != QWEN2 and settings.flag(key, default=False):
            raise UnsupportedModel(f"{key} in {origin} is true; only false is supported.")
    if any(kind != "full_attention" for kind in settings.texts("layer_types")):
        raise UnsupportedModel(f"Only full attention is supported (layer_types, {origin}).")
    if settings.has("sliding_window") and settings.flag("use_sliding_window", default=True):
        window = settings.integer("sliding_window", most=CONTEXT_MAX)
        if window < settings.integer("max_position_embeddings", most=CONTEXT_MAX):
            raise UnsupportedModel(
                f"Sliding-window attention is not supported ({window}, {origin})."
            )


def _head_dim(settings: Settings, *, hidden_size: int, heads: int) -> int:
    if settings.has("head_dim"):
        return settings.integer("head_dim", most=HEAD_DIM_MAX)
    if hidden_size % heads:
        raise CorruptConfig(
            f"hidden_size {hidden_size} in {settings.origin} does not divide into {heads} heads."
        )
    return hidden_size // heads


def _rope(settings: Settings) -> RopeConfig:
    modern = settings.has("rope_parameters")
    details = settings.section("rope_parameters" if modern else "rope_scaling")
    base = details if modern else settings
    if base.number("partial_rotary_factor", most=1.0, default=1.0) != 1.0:
        raise UnsupportedModel(f"Partial rotary embeddings are not supported ({base.origin}).")
    return RopeConfig(
        theta=base.number("rope_theta", most=ROPE_MAX, default=10000.0),
        scaling=_scaling(details),
    )


def _scaling(details: Settings) -> LinearScaling | Llama3Scaling | None:
    legacy_kind = details.text("type", default="default")
    kind = details.text("rope_type", default=legacy_kind)
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(factor=details.number("factor", most=ROPE_MAX))
    if kind != "llama3":
        raise UnsupportedModel(f"The rotary scaling {kind!r} is not supported ({details.origin}).")
    scaling = Llama3Scaling(
        factor=details.number("factor", most=ROPE_MAX),
        low_freq_factor=details.number("low_freq_factor", most=ROPE_MAX),
        high_freq_factor=details.number("high_freq_factor", most=ROPE_MAX),
        context_original=details.integer("original_max_position_embeddings", most=CONTEXT_MAX),
    )
    if scaling.low_freq_factor >= scaling.high_freq_factor:
        raise CorruptConfig(f"low_freq_factor must be below high_freq_factor ({details.origin}).")
    return scaling
