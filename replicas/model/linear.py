"""Matrix products of the decoder: prepacked by oneDNN on a CPU that can, plain otherwise.

A packed weight is laid out once for the CPU's kernels, which makes products of
few rows up to three times faster. It also makes them batch-invariant: row i of
a product has the same bits whatever the other rows are, from two rows up. (A
single row may take another kernel, so it is computed as two.) Plain products
agree with each other to rounding only.

The two oneDNN operators are private to torch, so they are tried before use.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Hint for the layout, not a bound: one packing serves every number of rows.
ROWS_HINT = 32


class PlainLinear:
    """x @ weight.T + bias, by whatever torch finds best."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)


class PackedLinear:
    """The same product with the weight in oneDNN's own layout; the original is not kept."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS_HINT)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[0] == 1:
            return self._product(x.expand(2, -1))[:1]
        return self._product(x)

    def _product(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self._bias, "none", [], ""
        )
        return product


def choose_linear(device: torch.device, dtype: torch.dtype) -> type[PlainLinear | PackedLinear]:
    """The kind of linear to build a model of; a probe decides, not a version."""
    if device.type != "cpu":
        return PlainLinear
    weight = torch.eye(16, dtype=dtype)
    try:
        works = torch.equal(PackedLinear(weight, None)(weight), weight)
    except (RuntimeError, AttributeError):  # no such operator, or not for this CPU and type
        return PlainLinear
    return PackedLinear if works else PlainLinear
