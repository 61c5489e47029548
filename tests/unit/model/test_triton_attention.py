"""The Triton kernels attend as torch does, and each row to the same bits in any company.

Run by Triton's interpreter, which is slow: shapes are small, and drawn. Tests of
bits that move rows about have even products (conftest.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replicas.engine.plan import Row
from tests.differential.kernels import Scene, numbered, shaped
from tests.unit.model.triton_cases import Pair, own_heads

# Around the edges of blocks, of tiles and of splits.
LENGTHS = (1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 300, 513)
DTYPES = (torch.float32, torch.bfloat16)
SLOW = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True)
class Drawn:
    """A shape, and rows as how many tokens each has before and in the step."""

    group: int
    kv_heads: int
    head_dim: int
    block_size: int
    dtype: torch.dtype
    rows: tuple[tuple[int, int], ...]

    def scene(self) -> tuple[Pair, list[Row], torch.Tensor]:
        config = shaped(self.group * self.kv_heads, self.kv_heads, self.head_dim)
        scene = Scene(config, self.block_size, seed=len(self.rows))
        pair = Pair(config, scene, self.dtype)
        rows = numbered([scene.row(start, count) for start, count in self.rows])
        return pair, rows, pair.heads(sum(len(row.tokens) for row in rows))


@st.composite
def row(draw: st.DrawFn) -> tuple[int, int]:
    length = draw(st.sampled_from(LENGTHS))
    # A decode, the last tokens of a prompt, or all of it.
    count = draw(st.sampled_from((1, 1, min(length, 7), min(length, 40), min(length, 130))))
    return length - count, count


STEPS = st.builds(
    Drawn,
    group=st.sampled_from((1, 2, 3, 4, 8)),
    kv_heads=st.sampled_from((1, 2)),
    head_dim=st.sampled_from((16, 32, 64, 128)),
    block_size=st.sampled_from((4, 16, 32)),
    dtype=st.sampled_from(DTYPES),
    rows=st.lists(row(), min_size=1, max_size=4).map(tuple),
)


@SLOW
@given(STEPS)
def test_mixed_steps_agree_with_torch(drawn: Drawn) -> None:
    pair, rows, heads = drawn.scene()
    pair.check(rows, heads)


@SLOW
@given(STEPS)
def test_a_row_has_the_same_bits_alone_and_in_company(drawn: Drawn) -> None:
    pair, rows, heads = drawn.scene()
    together, _ = pair.attend(rows, heads)
    for n, row in enumerate(rows):
        [alone], _ = pair.attend([row], own_heads(rows, heads, n))
        assert torch.equal(alone, together[n]), (row.start, len(row.tokens))


@pytest.mark.usefixtures("even_products")
@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_decodes_and_whole_prompts_give_the_same_bits(dtype: torch.dtype) -> None:
    """Whole, all splits are merged by one program; a short chunk's by the merging kernel."""
    config = shaped(4, 2, 16)
    tokens = 270
    scene = Scene(config, 16, seed=3)
    pair = Pair(config, scene, dtype)
    prompt = scene.row(0, tokens)
    heads = pair.heads(tokens)
    [whole] = pair.check([prompt], heads)
    _, pool = pair.attend([prompt], heads)
    scene.pool = pool.float()
    for start, count in ((0, 1), (17, 3), (100, 60), (250, 12), (255, 1), (256, 1), (269, 1)):
        chunk = replace(prompt, tokens=tuple(range(count)), start=start)
        [found], _ = pair.attend([chunk], heads[start : start + count])
        assert torch.equal(found, whole[start : start + count]), (start, count)


def test_heads_that_are_no_power_of_two_wide_are_padded() -> None:
    for head_dim in (4, 48, 80):
        pair, rows, heads = Drawn(3, 1, head_dim, 4, torch.float32, ((70, 1), (0, 30))).scene()
        pair.check(rows, heads)


def test_extreme_scores_do_not_overflow() -> None:
    """One key outshines all others by far more than float32's range of exponents."""
    config = shaped(6, 2, 16)
    scene = Scene(config, 16, seed=4)
    scene.pool *= 30
    pair = Pair(config, scene, torch.float32)
    found = pair.check([scene.row(300, 1)], 300 * pair.heads(1))
    assert torch.isfinite(found[0]).all()


@pytest.mark.usefixtures("even_products")
@pytest.mark.parametrize(("block_size", "dtype"), [(4, torch.float32), (16, torch.bfloat16)])
def test_sharing_a_prefix_changes_no_bit(block_size: int, dtype: torch.dtype) -> None:
    """Among a prefill and a lone decode, five rows share two splits and four too few blocks."""
    config = shaped(16, 1, 16)  # four tokens to a program, so that a group takes several
    scene = Scene(config, block_size, seed=block_size)
    rows = [scene.row(30, 20), scene.row(300, 1)]
    for prefix, ends in ((520, (0, 3, 60, 7, 1)), (250, (0, 5, 9, 2))):
        shared = scene.row(0, prefix).block_table[: prefix // block_size]
        begin = len(shared) * block_size
        for guesses, end in enumerate(ends):  # up to four: with them more than a program takes
            row = scene.row(begin + end, 1 + guesses, shared=shared)
            rows.append(replace(row, guesses=guesses))
    rows = numbered([rows[n] for n in (2, 0, 7, 3, 8, 4, 1, 5, 9, 6, 10)])
    pair = Pair(config, scene, dtype)
    heads = pair.heads(sum(len(row.tokens) for row in rows))
    together = pair.check(rows, heads)
    for n, row in enumerate(rows):
        [alone], _ = pair.attend([row], own_heads(rows, heads, n))
        assert torch.equal(alone, together[n]), row.start


def test_shared_splits_are_read_once_for_four_rows_to_a_program() -> None:
    config = shaped(16, 1, 16)
    scene = Scene(config, 16, seed=1)
    pair = Pair(config, scene, torch.float32)
    shared = scene.row(0, 512).block_table
    rows = numbered([scene.row(520, 1, shared=shared) for _ in range(6)])

    def programs(of: Sequence[Row]) -> int:
        step = pair.kernels.attention(scene.cache(torch.float32)).lay_out(of)
        visits: torch.Tensor = step.split  # type: ignore[attr-defined]
        return len(visits)

    assert programs(rows[:3]) == 3 * 3, "three rows are too few to share"
    assert programs(rows) == 2 * 2 + 6
