"""Native kernels compute what torch computes, to rounding, and the same bits in any company."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from replicas.model.rope import Rope
from tests.differential.kernels import (
    CONFIG,
    CPU,
    Scene,
    attend,
    both,
    native_library,
    numbered,
    shaped,
)

TYPES = [torch.float32, torch.bfloat16]
# Around the edges of blocks, of tiles and of panels; one token; thousands of slots are for later.
LENGTHS = (1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("seed", range(6))
def test_a_product_agrees_with_arithmetic_in_double(dtype: torch.dtype, seed: int) -> None:
    rng = random.Random(seed)
    kernels, _ = both(CONFIG)
    inputs, outputs = rng.choice([1, 7, 72, 576]), rng.choice([1, 15, 16, 17, 33, 200])
    weight = draw(outputs, inputs, seed=seed).to(dtype)
    for bias in (None, draw(outputs)):
        linear = kernels.linear(weight, bias)
        for rows in (0, 1, 2, 3, 4, 6, 7, 12, 13, 47, 48, 49, 130):
            x = draw(rows, inputs, seed=rows)
            expected = x.double() @ weight.double().T + (0 if bias is None else bias.double())
            assert torch.allclose(linear(x).double(), expected, atol=1e-3), (rows, bias is None)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_row_of_a_product_has_the_same_bits_in_every_batch(dtype: torch.dtype) -> None:
    kernels, _ = both(CONFIG)
    linear = kernels.linear(draw(200, 576).to(dtype), draw(200))
    x = draw(130, 576)
    whole = linear(x)
    for rows in (1, 2, 3, 4, 5, 7, 8, 11, 24, 25, 49):
        assert torch.equal(linear(x[:rows].clone()), whole[:rows]), rows
        assert torch.equal(linear(x[-rows:].clone()), whole[-rows:]), rows


@pytest.mark.parametrize("width", [1, 8, 16, 72, 576, 579])
def test_norms_and_gates_agree(width: int) -> None:
    native, plain = both(CONFIG)
    x, weight = 3 * draw(5, width), draw(width, seed=2)
    assert torch.allclose(native.norm(x, weight), plain.norm(x, weight), atol=1e-5)
    gate_up = torch.cat((40 * draw(4, width, seed=3), draw(4, width)), dim=1)
    gate_up[0, 0], gate_up[1, 0] = 200.0, -200.0  # where e to the power of it is no float32
    assert torch.allclose(native.gate(gate_up), plain.gate(gate_up), atol=1e-5, rtol=1e-5)


def test_a_gate_that_is_no_number_stays_none() -> None:
    native, _ = both(CONFIG)
    gate_up = torch.zeros(1, 32)
    gate_up[0, 3] = torch.nan
    assert native.gate(gate_up).isnan().sum() == 1


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("shape", [(6, 2, 16), (9, 3, 64), (4, 4, 128)])
def test_heads_turn_alike(shape: tuple[int, int, int], normed: bool) -> None:
    config = shaped(*shape)
    native, plain = both(config)
    heads = draw(7, shape[0] + 2 * shape[1], shape[2])
    rotation = Rope(config, device=CPU, dtype=torch.float32).rotation(torch.arange(900, 907))
    norms = (draw(shape[2], seed=2), draw(shape[2], seed=3)) if normed else None
    expected = plain.turn(heads.clone(), rotation, norms)
    found = native.turn(heads.clone(), rotation, norms)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("block_size", [4, 16, 32])
@pytest.mark.parametrize(
    "shape", [(1, 1, 16), (6, 2, 16), (9, 3, 64), (8, 1, 48), (4, 4, 80), (14, 2, 128)]
)
def test_attention_agrees_and_writes_the_same_slots(
    shape: tuple[int, int, int], block_size: int, dtype: torch.dtype
) -> None:
    """Decodes, whole prompts and suffixes of all lengths in one step."""
    config = shaped(*shape)
    if config.head_dim % native_library().lanes:
        pytest.skip("the kernels do not take this head size on this CPU")
    scene = Scene(config, block_size, seed=block_size + shape[0])
    rng = random.Random(block_size)
    rows = []
    for length in LENGTHS:
        count = rng.choice([1, 1, length, rng.randint(1, length)])
        rows.append(scene.row(length - count, count))
    rows = numbered(rows)
    # Keys and values that the smaller type holds exactly: both store the same.
    heads = scene.heads(sum(len(row.tokens) for row in rows)).to(dtype).float()
    native, plain = both(config)
    caches = scene.cache(dtype), scene.cache(dtype)
    exact = scene.cache(dtype)
    exact.pool = exact.pool.float()
    found = attend(native, config, caches[0], rows, heads)
    expected = attend(plain, config, exact, rows, heads)
    for row, mine, theirs in zip(rows, found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=2e-5), (row.start, len(row.tokens))
    assert torch.equal(caches[0].pool.float(), exact.pool)


@pytest.mark.parametrize("dtype", TYPES)
def test_attention_has_the_same_bits_alone_together_and_in_chunks(dtype: torch.dtype) -> None:
    config = shaped(9, 3, 64)
    scene = Scene(config, 16, seed=3)
    native, _ = both(config)
    tokens = 300
    prompt = scene.row(0, tokens)
    heads = scene.heads(tokens)
    [whole] = attend(native, config, scene.cache(dtype), [prompt], heads)
    cache, done = scene.cache(dtype), 0
    for chunk in (1, 15, 48, 1, 65, 100, 69, 1):
        piece = scene.row(done, chunk)
        piece = type(piece)(piece.tokens, done, prompt.block_table, piece.samples)
        company = [scene.row(length, 1) for length in (5, 200, done)]
        rows = numbered([*company[:2], piece, company[2]])
        mixed = torch.cat((scene.heads(2), heads[done : done + chunk], scene.heads(1)))
        output = attend(native, config, cache, rows, mixed)[2]
        assert torch.equal(output, whole[done : done + chunk]), (done, chunk)
        done += chunk
    assert done == tokens


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("block_size", [4, 7, 16, 32])
@pytest.mark.parametrize("seed", range(3))
def test_sharing_a_prefix_changes_no_bit(seed: int, block_size: int, dtype: torch.dtype) -> None:
    """Random groups, some too small or too short to share, between prefills and lone decodes."""
    config = shaped(6, 2, 16)
    rng = random.Random(seed)
    scene = Scene(config, block_size, seed=seed)
    rows = [scene.row(rng.randint(0, 100), rng.randint(1, 30)) for _ in range(3)]
    for prefix, size in ((100, 5), (260, 3), (270, 4), (333, 6)):
        shared = scene.row(0, prefix).block_table[: prefix // block_size]
        begin = len(shared) * block_size
        for guesses in (rng.choice((0, 0, 1, 5)) for _ in range(size)):
            row = scene.row(begin + rng.randint(0, 150), 1 + guesses, shared=shared)
            rows.append(replace(row, guesses=guesses))
    rng.shuffle(rows)
    rows = numbered(rows)
    heads = scene.heads(sum(len(row.tokens) for row in rows))
    kernels, plain = both(config)
    attention = kernels.attention(scene.cache(dtype))
    apart, together = (len(attention.lay_out(rows, sharing_rows=n).visits) for n in (99, 4))
    assert together == apart + 2, "two groups are large and long enough"
    found = attend(kernels, config, scene.cache(dtype), rows, heads)
    for row, mine, n in zip(rows, found, range(len(rows)), strict=True):
        first = sum(len(each.tokens) for each in rows[:n])
        own = heads[first : first + len(row.tokens)]
        assert torch.equal(mine, attend(kernels, config, scene.cache(dtype), [row], own)[0])
    if dtype is torch.float32:
        expected = attend(plain, config, scene.cache(dtype), rows, heads)
        assert torch.allclose(torch.cat(found), torch.cat(expected), atol=2e-5)


def test_sampled_rows_are_found_behind_a_group() -> None:
    """Sharing moves rows; the last tokens follow the plan."""
    config = shaped(6, 2, 16)
    scene = Scene(config, 16, seed=1)
    shared = scene.row(0, 320).block_table
    rows = [scene.row(5, 7), *(scene.row(320, 1, shared=shared) for _ in range(4))]
    rows = numbered([rows[1], rows[0], *rows[2:]])
    native, _ = both(config)
    step = native.attention(scene.cache(torch.float32)).lay_out(rows)
    assert step.tokens[step.last].tolist() == [row.tokens[-1] for row in rows]
    assert step.tokens.tolist() != [token for row in rows for token in row.tokens]


def test_logits_of_guesses_are_found_behind_a_group() -> None:
    config = shaped(6, 2, 16)
    scene = Scene(config, 16, seed=1)
    shared = scene.row(0, 320).block_table
    guesses = (0, 2, 0, 1)
    rows = [replace(scene.row(320, 1 + n, shared=shared), guesses=n) for n in guesses]
    rows = numbered([rows[0], scene.row(5, 7), replace(scene.row(0, 3), samples=()), *rows[1:]])
    kernels, plain = both(config)
    expected = [token for row in rows if row.samples for token in row.tokens[-1 - row.guesses :]]
    for each in (kernels, plain):
        step = each.attention(scene.cache(torch.float32)).lay_out(rows)
        assert step.tokens[step.last].tolist() == expected


def test_extreme_scores_do_not_overflow() -> None:
    """One key outshines all others by far more than float32's range of exponents."""
    config = shaped(6, 2, 16)
    scene = Scene(config, 16, seed=4)
    rows = [scene.row(200, 1)]
    heads = scene.heads(1)
    native, plain = both(config)
    heads *= 300
    scene.pool *= 30
    found = attend(native, config, scene.cache(torch.float32), rows, heads)
    expected = attend(plain, config, scene.cache(torch.float32), rows, heads)
    assert torch.isfinite(found[0]).all()
    assert torch.allclose(found[0], expected[0], rtol=1e-4)
