"""Sums are right, and a row has the same one wherever it is and however many threads there are."""

from __future__ import annotations

import pytest
import torch

from replicas.model.sums import row_sums, running_sums

WIDTHS = (1, 2, 3, 5, 8, 100, 259, 1023, 1024, 1025)


def drawn(rows: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(width)
    return torch.randn((rows, width), generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("width", WIDTHS)
def test_they_are_what_adding_in_order_gives(width: int) -> None:
    x = drawn(3, width)
    assert torch.allclose(row_sums(x), x.sum(1, keepdim=True), atol=1e-12)
    assert torch.allclose(running_sums(x), x.cumsum(1), atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("width", [259, 1025, 50_001])
def test_a_row_has_the_same_bits_alone_and_in_company(width: int, threads: int) -> None:
    """With two threads torch's own sums break this from some 30,000 on."""
    torch.set_num_threads(threads)
    x = drawn(9, width)
    sums, running = row_sums(x), running_sums(x)
    for n in range(len(x)):
        assert torch.equal(row_sums(x[n : n + 1].clone()), sums[n : n + 1])
        assert torch.equal(running_sums(x[n : n + 1].clone()), running[n : n + 1])
