"""What the decoder does to each token by itself, as Triton kernels: norm, turn, gate.

Sums and angles are taken in float32 and rounded once, on the way out. A
program has one token, so its bits do not depend on the others.
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
    HEADS: tl.constexpr,  # queries, keys and values in registers, up to a power of two
    WIDTH: tl.constexpr,  # half a head, likewise
    NORMED: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    head, features = tl.arange(0, HEADS)[:, None], tl.arange(0, WIDTH)[None, :]
    filled = features < HALF
    is_query, is_turned = head < QUERIES, head < QUERIES + KEYS
    read = (head < QUERIES + 2 * KEYS) & filled
    place = heads + token * token_stride + head * (2 * HALF) + features
    first = tl.load(place, mask=read, other=0.0).to(tl.float32)
    second = tl.load(place + HALF, mask=read, other=0.0).to(tl.float32)
    cos = tl.load(cosine + token * HALF + features, mask=filled, other=0.0).to(tl.float32)
    sin = tl.load(sine + token * HALF + features, mask=filled, other=0.0).to(tl.float32)
    left, right = first, second
    if NORMED:
        squares = tl.sum(first * first, 1) + tl.sum(second * second, 1)
        shrink = tl.rsqrt(squares / (2 * HALF) + eps)[:, None]
        left *= shrink * norm_weight(query_norm, key_norm, is_query, features, filled)
        right *= shrink * norm_weight(
            query_norm + HALF, key_norm + HALF, is_query, features, filled
        )
    kind = heads.dtype.element_ty
    first = tl.where(is_turned, left * cos - right * sin, first).to(kind)
    second = tl.where(is_turned, right * cos + left * sin, second).to(kind)
    tl.store(place, first, mask=read & is_query)
    tl.store(place + HALF, second, mask=read & is_query)
    line = tl.load(slots + token) * KEYS + (head - QUERIES) % KEYS
    within = line * (2 * HALF) + features
    is_key = read & is_turned & (head >= QUERIES)
    tl.store(key_pool + within, first, mask=is_key)
    tl.store(key_pool + within + HALF, second, mask=is_key)
    is_value = read & (head >= QUERIES + KEYS)
    tl.store(value_pool + within, first, mask=is_value)
    tl.store(value_pool + within + HALF, second, mask=is_value)


@triton.jit
def norm_weight(query_norm, key_norm, is_query, features, filled):
    of_queries = tl.load(query_norm + features, mask=filled, other=0.0).to(tl.float32)
    of_keys = tl.load(key_norm + features, mask=filled, other=0.0).to(tl.float32)
    return tl.where(is_query, of_queries, of_keys)


@triton.jit
def gate_kernel(gate_up, out, SIZE: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    features = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    filled = features < SIZE
    gate = tl.load(gate_up + row * (2 * SIZE) + features, mask=filled, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * (2 * SIZE) + SIZE + features, mask=filled, other=0.0)
    gated = gate / (1.0 + tl.exp(-gate)) * up.to(tl.float32)
    tl.store(out + row * SIZE + features, gated.to(out.dtype.element_ty), mask=filled)
