"""x @ weight.T + bias as one Triton kernel whose sums have one order for any number of rows.

A program has a tile of rows and of outputs and takes all inputs in order:
nothing is split, and the tile is the same for a decode and for a prefill. So a
row's bits do not depend on the rows beside it, as far as the matrix unit treats
the rows of a product alike. torch's products pick tiles and splits by the
number of rows and are faster, most of all where few rows leave a card idle.
"""

from __future__ import annotations

import triton
import triton.language as tl


# Compiled once for all numbers of rows, too.
@triton.jit(do_not_specialize=["rows"])
def linear_kernel(
    x,  # [rows, SIZE]
    weight,  # [outputs, SIZE]
    bias,  # [outputs], if BIASED
    out,  # [rows, outputs]
    rows,
    outputs,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
    FACTOR: tl.constexpr,  # type of what is multiplied
    BIASED: tl.constexpr,
):
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    output = tl.program_id(0).to(tl.int64) * OUTPUTS + tl.arange(0, OUTPUTS)
    is_row, is_output = row < rows, output < outputs
    total = tl.full((ROWS, OUTPUTS), 0.0, tl.float32)
    for start in range(0, SIZE, INPUTS):
        inputs = start + tl.arange(0, INPUTS)
        is_input = inputs < SIZE
        place = x + row[:, None] * SIZE + inputs[None, :]
        left = tl.load(place, mask=is_row[:, None] & is_input[None, :], other=0.0)
        place = weight + output[None, :] * SIZE + inputs[:, None]
        right = tl.load(place, mask=is_input[:, None] & is_output[None, :], other=0.0)
        total += tl.dot(left.to(FACTOR), right.to(FACTOR), input_precision="ieee")
    if BIASED:
        total += tl.load(bias + output, mask=is_output, other=0.0).to(tl.float32)[None, :]
    place = out + row[:, None] * outputs + output[None, :]
    tl.store(place, total.to(out.dtype.element_ty), mask=is_row[:, None] & is_output[None, :])
