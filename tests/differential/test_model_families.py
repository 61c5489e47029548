"""Every supported family, with random weights that transformers itself has saved.

The folders are sharded, and the rotary scalings are written as this version
of transformers writes them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from replicas.model.loading import LoadedModel, load_model
from replicas.model.source import ModelSource
from replicas.model.tiny import write_tiny
from tests.differential.paged import Driver
from tests.differential.reference import Reference

TOKENS = 10
VOCAB = 300
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 72,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,  # not the hidden size over the heads
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # large enough that attention and order of tokens matter
    "attn_implementation": "eager",
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
LINEAR = {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.5}
FAMILIES: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama, one head": lambda: LlamaForCausalLM(LlamaConfig(**SIZES | {"num_key_value_heads": 1})),
    "llama, llama3 rope": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    "llama, linear rope": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=LINEAR)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
}


def randomise(model: torch.nn.Module) -> None:
    """Norms start as ones and biases as zeros, which would hide a mistake with either."""
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)


def load(folder: Path, kernels: str = "auto") -> LoadedModel:
    source = ModelSource("random", folder)
    return load_model(source, device="cpu", dtype="float32", kernels=kernels)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check_against(reference: Reference, model: LoadedModel, block_size: int) -> None:
    """Alone, together, in chunks, and behind a prefix computed by another sequence."""
    driver = Driver(model, blocks_total=1600 // block_size, block_size=block_size)
    rng = random.Random(1)
    prompts = [
        tuple(rng.randrange(model.config.vocab_size - 3) for _ in range(length))
        for length in (1, 2, 15, 16, 17, 40, 130, 300)
    ]
    for chunk in (1 << 20, 7):
        driver.release()
        lines = [driver.line(prompt, TOKENS) for prompt in prompts]
        driver.run(lines, TOKENS, chunk=chunk)
        for line in lines:
            reference.check(line)
    behind = [
        driver.line(prompt, TOKENS, prefix=lines[-1])
        for prompt in (prompts[-1], (*prompts[-1][:100], 5, 6, 7), prompts[-1][:16])
    ]
    assert all(line.computed for line in behind[:2])
    driver.run(behind, TOKENS)
    driver.release()
    alone = driver.line(prompts[5], TOKENS)
    driver.run([alone], TOKENS)
    for line in (*behind, alone):
        reference.check(line)
    assert reference.ties <= 1


@pytest.mark.parametrize(("block_size", "kernels"), [(4, "auto"), (16, "auto"), (16, "torch")])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_says_what_transformers_says(
    family: str, block_size: int, kernels: str, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    model = FAMILIES[family]()
    randomise(model)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    check_against(Reference(model), load(tmp_path, kernels), block_size)


def test_the_tiny_model_says_what_transformers_says(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path)
    model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager")
    check_against(Reference(model), load(folder), block_size=16)
