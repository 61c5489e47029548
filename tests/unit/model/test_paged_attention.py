"""Paged attention against the textbook formula over each row's own keys and values."""

from __future__ import annotations

import random
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from replicas.engine.plan import BlockId, Row
from replicas.model.batch import build_batch
from replicas.model.config import ModelConfig, RopeConfig
from replicas.model.kv_cache import KvCache
from replicas.model.paged_attention import PagedAttention

CPU = torch.device("cpu")
BLOCKS = 200


def config_of(heads: int, kv_heads: int, head_dim: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=9,
        hidden_size=heads * head_dim,
        intermediate_size=8,
        layers=2,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        context_tokens_max=999,
        norm_eps=1e-5,
        rope=RopeConfig(10000.0),
        tied_embeddings=True,
    )


class Stream:
    """One sequence with its queries, keys and values decided beforehand, for one layer."""

    def __init__(self, config: ModelConfig, tokens: int, table: list[int], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        draw = [
            torch.randn(tokens, heads, config.head_dim, generator=generator)
            for heads in (config.heads, config.kv_heads, config.kv_heads)
        ]
        self.queries, self.keys, self.values = draw
        self.table = tuple(BlockId(block) for block in table)

    def row(self, start: int, stop: int) -> Row:
        # Token ids say where in the stream a token is, so that the test can find its vectors.
        return Row(tuple(range(start, stop)), start, self.table, ())

    def expected(self) -> Tensor:
        """Textbook causal attention in float64."""
        group = self.queries.shape[1] // self.keys.shape[1]
        q = self.queries.double().transpose(0, 1)
        k = self.keys.double().repeat_interleave(group, 1).transpose(0, 1)
        v = self.values.double().repeat_interleave(group, 1).transpose(0, 1)
        scores = q @ k.transpose(1, 2) / q.shape[2] ** 0.5
        future = torch.ones(scores.shape[1:]).triu(1).bool()
        attended: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        return attended.transpose(0, 1)


def turn(*_: object) -> NoReturn:
    raise AssertionError("attention alone turns nothing")


class World:
    """A cache, its attention, and steps over streams."""

    def __init__(self, config: ModelConfig, block_size: int) -> None:
        self.config = config
        self.block_size = block_size
        self.cache = KvCache(
            config, blocks_total=BLOCKS, block_size=block_size, device=CPU, dtype=torch.float32
        )
        # Stale but finite, as in a pool that has been used.
        self.cache.pool.normal_(generator=torch.Generator().manual_seed(99))
        self.attention = PagedAttention(config, self.cache, turn)
        blocks = list(range(BLOCKS))
        random.Random(4).shuffle(blocks)
        self._blocks = iter(blocks)

    def stream(self, tokens: int, seed: int) -> Stream:
        needed = -(-tokens // self.block_size)
        return Stream(self.config, tokens, [next(self._blocks) for _ in range(needed)], seed)

    def step(self, parts: list[tuple[Stream, int, int]]) -> list[Tensor]:
        """Attend over tokens start to stop of each stream; returns each part's output."""
        rows = [stream.row(start, stop) for stream, start, stop in parts]
        batch = build_batch(
            rows,
            block_size=self.block_size,
            group=self.config.group,
            device=CPU,
            dtype=torch.float32,
        )
        owner = {}
        for n, (stream, start, stop) in enumerate(parts):
            for token in range(start, stop):
                slot = stream.table[token // self.block_size] * self.block_size
                owner[slot + token % self.block_size] = (n, token)
        places = [owner[int(slot)] for slot in batch.slots]
        q, k, v = (
            torch.stack([getattr(parts[n][0], name)[token] for n, token in places])
            for name in ("queries", "keys", "values")
        )
        attended = self.attention.attend(1, q, k, v, batch)
        outputs = [torch.empty(stop - start, *q.shape[1:]) for _, start, stop in parts]
        for line, (n, token) in zip(attended, places, strict=True):
            outputs[n][token - parts[n][1]] = line
        return outputs


SHAPES = [(4, 4, 8), (9, 3, 64), (8, 1, 16)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block_size", [4, 16])
def test_mixed_steps_agree_with_the_formula(shape: tuple[int, int, int], block_size: int) -> None:
    """Whole and chunked prefills and decodes in one step, over scattered blocks."""
    world = World(config_of(*shape), block_size)
    lengths = (1, 3, 16, 17, 40, 150)
    streams = [world.stream(tokens, seed) for seed, tokens in enumerate(lengths)]
    results: list[list[Tensor]] = [[] for _ in streams]
    done = [0] * len(streams)
    while any(at < tokens for at, tokens in zip(done, lengths, strict=True)):
        parts, who = [], []
        for n, stream in enumerate(streams):
            chunk = (1, 2, 5, 17, 1, 140)[n]
            if done[n] < lengths[n]:
                parts.append((stream, done[n], min(done[n] + chunk, lengths[n])))
                who.append(n)
        for n, output in zip(who, world.step(parts), strict=True):
            results[n].append(output)
            done[n] += len(output)
    for stream, outputs in zip(streams, results, strict=True):
        assert torch.allclose(torch.cat(outputs).double(), stream.expected(), atol=1e-5)


def test_a_prefix_is_read_where_another_sequence_wrote_it() -> None:
    world = World(config_of(4, 2, 16), 16)
    first = world.stream(40, seed=1)
    second = world.stream(40, seed=1)
    second.table = (*first.table[:2], second.table[2])
    world.step([(first, 0, 40)])
    [output] = world.step([(second, 32, 40)])
    assert torch.allclose(output.double(), second.expected()[32:], atol=1e-5)


def test_a_prefix_written_in_the_same_step_is_read_too() -> None:
    world = World(config_of(4, 2, 16), 16)
    first = world.stream(40, seed=1)
    second = world.stream(40, seed=1)
    second.table = (*first.table[:2], second.table[2])
    _, output = world.step([(first, 0, 40), (second, 32, 40)])
    assert torch.allclose(output.double(), second.expected()[32:], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_company_and_chunks_change_nothing_but_rounding(shape: tuple[int, int, int]) -> None:
    tokens = 300
    world = World(config_of(*shape), 16)
    [whole] = world.step([(world.stream(tokens, seed=7), 0, tokens)])
    chunked = world.stream(tokens, seed=7)
    others = [world.stream(length, seed=length) for length in (20, 290, 310)]
    world.step([(other, 0, len(other.queries) - 1) for other in others])
    done = 0
    for chunk in (1, 15, 100, 1, 130, 52, 1):
        company = [(other, len(other.queries) - 1, len(other.queries)) for other in others]
        output, *_ = world.step([(chunked, done, done + chunk), *company])
        assert torch.allclose(output, whole[done : done + chunk], atol=2e-6), (done, chunk)
        done += chunk
    assert done == tokens
