"""What the decoder does to each token by itself, as Triton kernels: norm, turn, gate.

Sums and angles are taken in float32 and rounded once, on the way out. A
program has one row or one head, so its bits do not depend on the others.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def norm_kernel(x, weight, out, eps, SIZE: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    features = tl.arange(0, WIDTH)
    filled = features < SIZE
    value = tl.load(x + row * SIZE + features, mask=filled, other=0.0).to(tl.float32)
    value *= tl.rsqrt(tl.sum(value * value, 0) / SIZE + eps)
    value *= tl.load(weight + features, mask=filled, other=0.0).to(tl.float32)
    tl.store(out + row * SIZE + features, value.to(out.dtype.element_ty), mask=filled)


@triton.jit
def turn_kernel(
    heads,  # [tokens, all heads, 2 * HALF]: queries are turned in place
    token_stride,
    cosine,  # [tokens, HALF]
    sine,
    query_norm,  # [2 * HALF] each, if NORMED
    key_norm,
    eps,
    key_pool,  # [slots, KEYS, 2 * HALF], of one layer: where keys go, turned, and values
    value_pool,
    slots,  # [tokens]
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    HALF: tl.constexpr,
    WIDTH: tl.constexpr,
    NORMED: tl.constexpr,
):
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    features = tl.arange(0, WIDTH)
    filled = features < HALF
    place = heads + token * token_stride + head * (2 * HALF) + features
    first = tl.load(place, mask=filled, other=0.0).to(tl.float32)
    second = tl.load(place + HALF, mask=filled, other=0.0).to(tl.float32)
    weight = query_norm
    if head >= QUERIES:
        pool = key_pool
        if head >= QUERIES + KEYS:
            pool = value_pool
        line = tl.load(slots + token) * KEYS + (head - QUERIES) % KEYS
        place = pool + line * (2 * HALF) + features
        weight = key_norm
    if head < QUERIES + KEYS:
        if NORMED:
            squares = tl.sum(first * first, 0) + tl.sum(second * second, 0)
            shrink = tl.rsqrt(squares / (2 * HALF) + eps)
            scale = tl.load(weight + features, mask=filled, other=0.0).to(tl.float32)
            first *= shrink * scale
            scale = tl.load(weight + HALF + features, mask=filled, other=0.0).to(tl.float32)
            second *= shrink * scale
        cos = tl.load(cosine + token * HALF + features, mask=filled, other=0.0).to(tl.float32)
        sin = tl.load(sine + token * HALF + features, mask=filled, other=0.0).to(tl.float32)
        turned = first * cos - second * sin
        second = second * cos + first * sin
        first = turned
    tl.store(place, first.to(heads.dtype.element_ty), mask=filled)
    tl.store(place + HALF, second.to(heads.dtype.element_ty), mask=filled)


@triton.jit
def gate_kernel(gate_up, out, SIZE: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    features = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    filled = features < SIZE
    gate = tl.load(gate_up + row * (2 * SIZE) + features, mask=filled, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * (2 * SIZE) + SIZE + features, mask=filled, other=0.0)
    gated = gate / (1.0 + tl.exp(-gate)) * up.to(tl.float32)
    tl.store(out + row * SIZE + features, gated.to(out.dtype.element_ty), mask=filled)
