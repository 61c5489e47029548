"""Packed and plain products agree, and packed ones do not depend on their neighbours."""

from __future__ import annotations

import pytest
import torch

from replicas.model.linear import PackedLinear, PlainLinear, choose_linear

CPU = torch.device("cpu")


def random_layer(
    rows: int, width: int, out: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = [torch.randn(shape, generator=generator) for shape in ((rows, width), (out, width))]
    return draw[0], draw[1], torch.randn(out, generator=generator)


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
def test_the_chosen_linear_agrees_with_plain_arithmetic(rows: int) -> None:
    x, weight, bias = random_layer(rows, 48, 80)
    linear = choose_linear(CPU, torch.float32)
    for offset in (None, bias):
        expected = x.double() @ weight.double().T + (0 if offset is None else offset.double())
        for kind in (linear, PlainLinear):
            assert torch.allclose(kind(weight, offset)(x).double(), expected, atol=1e-4)


@pytest.mark.parametrize(("width", "out"), [(576, 960), (1536, 576), (128, 259)])
def test_a_packed_row_has_the_same_bits_in_every_batch(width: int, out: int) -> None:
    """Plain products break this: they choose their kernel by the number of rows."""
    if choose_linear(CPU, torch.float32) is not PackedLinear:
        pytest.skip("oneDNN packing does not work on this CPU")
    x, weight, bias = random_layer(300, width, out)
    linear = PackedLinear(weight, bias)
    whole = linear(x)
    for rows in (1, 2, 3, 5, 8, 31, 128):
        assert torch.equal(linear(x[:rows]), whole[:rows]), rows
        assert torch.equal(linear(x[-rows:]), whole[-rows:]), rows


def test_a_type_that_cannot_be_packed_falls_back() -> None:
    assert choose_linear(CPU, torch.float64) is PlainLinear


def test_packing_is_for_the_cpu_only() -> None:
    assert choose_linear(torch.device("meta"), torch.float32) is PlainLinear
