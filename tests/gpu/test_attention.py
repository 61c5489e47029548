"""The Triton kernels on a card: what the interpreter proves in tests/unit/model, at real shapes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from tests.differential.kernels import Scene, numbered, shaped
from tests.unit.model.triton_cases import Pair, own_heads

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]
CUDA = torch.device("cuda")
DTYPES = (torch.float32, torch.bfloat16)
LENGTHS = (1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 513, 700)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block_size", [4, 16, 32])
@pytest.mark.parametrize("shape", [(2, 2, 16), (6, 2, 32), (9, 3, 64), (16, 8, 128), (8, 1, 128)])
def test_mixed_steps_agree_with_torch_and_each_row_with_itself_alone(
    shape: tuple[int, int, int], block_size: int, dtype: torch.dtype
) -> None:
    scene = Scene(shaped(*shape), block_size, seed=block_size)
    pair = Pair(shaped(*shape), scene, dtype, CUDA)
    rng = random.Random(block_size)
    counts = [rng.choice((1, 1, length, rng.randint(1, length))) for length in LENGTHS]
    rows = numbered([scene.row(length - n, n) for length, n in zip(LENGTHS, counts, strict=True)])
    heads = pair.heads(sum(counts))
    together = pair.check(rows, heads)
    for n, row in enumerate(rows):
        [alone], _ = pair.attend([row], own_heads(rows, heads, n))
        assert torch.equal(alone, together[n]), (row.start, len(row.tokens))


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_decodes_and_whole_prompts_give_the_same_bits(dtype: torch.dtype) -> None:
    config = shaped(32, 8, 128)
    scene = Scene(config, 16, seed=3)
    pair = Pair(config, scene, dtype, CUDA)
    prompt = scene.row(0, 600)
    heads = pair.heads(600)
    [whole] = pair.check([prompt], heads)
    _, pool = pair.attend([prompt], heads)
    scene.pool = pool.float()
    for start, count in ((0, 1), (17, 3), (100, 60), (250, 12), (255, 1), (512, 1), (599, 1)):
        chunk = replace(prompt, tokens=tuple(range(count)), start=start)
        [found], _ = pair.attend([chunk], heads[start : start + count])
        assert torch.equal(found, whole[start : start + count]), (start, count)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sharing_a_prefix_changes_no_bit(dtype: torch.dtype) -> None:
    config = shaped(32, 8, 128)
    scene = Scene(config, 16, seed=5)
    shared = scene.row(0, 592).block_table
    rows = numbered([scene.row(592 + n, 1, shared=shared) for n in range(33)])
    pair = Pair(config, scene, dtype, CUDA)
    heads = pair.heads(len(rows))
    together = pair.check(rows, heads)
    for n, row in enumerate(rows):
        [alone], _ = pair.attend([row], own_heads(rows, heads, n))
        assert torch.equal(alone, together[n]), row.start
