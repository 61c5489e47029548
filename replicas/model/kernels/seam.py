"""What the decoder asks of whoever computes for it.

`TorchKernels` is the reference and runs on every device; `NativeKernels` runs
on a CPU for which a compiler was found, `TritonKernels` on CUDA, and both are
faster. All give the same results up to rounding. Activations are of the
kernels' `dtype`, which need not be that of weights and KV in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from replicas.engine.plan import Row
from replicas.model.kv_cache import KvCache
from replicas.model.rope import Rotation

Linear = Callable[[Tensor], Tensor]
Norms = tuple[Tensor, Tensor]  # of query heads and of key heads
# Queries, keys and values of [tokens, all heads, head_dim], the first two normed, if there are
# norms for them, and rotated. The heads are consumed.
Turn = Callable[[Tensor, Rotation, Norms | None], tuple[Tensor, Tensor, Tensor]]


class NotUsable(Exception):
    """Why kernels cannot run here, in words."""


class ModelStep(Protocol):
    """A step laid out as one run of tokens over one KV cache."""

    @property
    def tokens(self) -> Tensor: ...

    @property
    def positions(self) -> Tensor: ...

    @property
    def last(self) -> Tensor:
        """Where the last token of each sampled row is, in the plan's order; of a row with
        guesses, the token before them and each of them."""
        ...

    def attend(self, layer: int, heads: Tensor, rotation: Rotation, norms: Norms | None) -> Tensor:
        """Norm, if there are norms, and rotate the tokens' queries and keys, store keys and values,
        then attend. `heads` are [tokens, queries and keys and values, head_dim], and consumed."""
        ...


class Attention(Protocol):
    """Attends over one KV cache."""

    def lay_out(self, rows: Sequence[Row]) -> ModelStep:
        """The rows of a plan as a step. Valid until the next one."""
        ...


class Kernels(Protocol):
    """The arithmetic of one model."""

    name: str
    dtype: torch.dtype

    @property
    def arithmetic(self) -> str | None:
        """A name where results have the same bits whatever else is in the step, wherever the
        name is the same; None where company, chunks or the number of rows can show."""
        ...

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """x @ weight.T + bias for many x; the weight may be kept in another layout."""
        ...

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """Root mean square norm of each row."""
        ...

    def gate(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up, where each row is its gates followed by its ups."""
        ...

    def attention(self, cache: KvCache) -> Attention:
        """Attention over this cache."""
        ...
