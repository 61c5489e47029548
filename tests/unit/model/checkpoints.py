"""Small checkpoints on disk, to be loaded or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from replicas.model.config import ModelConfig, RopeConfig
from replicas.model.stored import tensor_shapes

SMALL = ModelConfig(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=24,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=4,
    context_tokens_max=64,
    norm_eps=1e-5,
    rope=RopeConfig(theta=10000.0),
    tied_embeddings=False,
)


def random_tensors(config: ModelConfig = SMALL) -> dict[str, Tensor]:
    """A tensor for every name of the configuration, the same each time."""
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(shape, generator=generator) * 0.3
        for name, shape in tensor_shapes(config).items()
    }


def write_folder(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """A Hugging Face folder of the small configuration with these weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": SMALL.vocab_size,
        "hidden_size": SMALL.hidden_size,
        "intermediate_size": SMALL.intermediate_size,
        "num_hidden_layers": SMALL.layers,
        "num_attention_heads": SMALL.heads,
        "num_key_value_heads": SMALL.kv_heads,
        "max_position_embeddings": SMALL.context_tokens_max,
        "rms_norm_eps": SMALL.norm_eps,
        "rope_theta": SMALL.rope.theta,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder
