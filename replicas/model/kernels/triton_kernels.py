"""The decoder's arithmetic by Triton: products by torch, the rest by kernels of our own.

Imported where the device is CUDA, or where Triton's interpreter is asked for:
Triton is there with torch's builds for CUDA only, and decides at its import
whether kernels are compiled or interpreted. Activations are of the type of the
weights. What is promised about bits is attention's; products are torch's, which
may pick another order of summing for another number of rows.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Linear, NotUsable
from replicas.model.kernels.triton_rows import gate_kernel, norm_kernel, turn_kernel
from replicas.model.kernels.triton_step import FACTORS, ROWS, TritonAttention
from replicas.model.kv_cache import KvCache
from replicas.model.linear import PlainLinear
from replicas.model.rope import Rotation

GATE_WIDTH = 1024


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on tensors of the CPU."""
    return bool(triton.knobs.runtime.interpret)


def open_triton(config: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> TritonKernels:
    """The kernels, after one of them has computed here; raises NotUsable."""
    if device.type == "cpu" and not is_interpreted():
        raise NotUsable("on a CPU they are interpreted only, with TRITON_INTERPRET=1")
    if config.group > ROWS or dtype not in FACTORS:
        raise NotUsable(f"they do not take {config.group} heads for one of keys as {dtype}")
    kernels = TritonKernels(config, dtype=dtype)
    ones = torch.ones((1, config.hidden_size), device=device, dtype=dtype)
    try:
        sound = bool(torch.isfinite(kernels.norm(ones, ones[0])).all())
    except Exception as error:  # of a compiler, a driver or a linker: whatever it is, it is why
        raise NotUsable(f"{type(error).__name__}: {error}") from error
    if not sound:
        raise NotUsable("the first of them computed what is no number")
    return kernels


class TritonKernels:
    """The kernels for one model."""

    def __init__(self, config: ModelConfig, *, dtype: torch.dtype) -> None:
        self._config = config
        self.dtype = dtype
        self.name = "triton, interpreted" if is_interpreted() else "triton"

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        return PlainLinear(weight, bias)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        assert x.is_contiguous(), "a foreign layout"
        rows, size = x.shape
        out = torch.empty_like(x)
        norm_kernel[(rows,)](
            x, weight, out, self._config.norm_eps, SIZE=size, WIDTH=triton.next_power_of_2(size)
        )
        return out

    def turn(
        self, heads: Tensor, rotation: Rotation, norms: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        config = self._config
        turned, half = config.heads + config.kv_heads, config.head_dim // 2
        assert heads.is_contiguous(), "a foreign layout"
        # Without norms nothing is read from where they would be.
        query_norm, key_norm = norms if norms is not None else (heads, heads)
        turn_kernel[(len(heads), turned)](
            heads,
            heads.stride(0),
            rotation.cosine,
            rotation.sine,
            query_norm,
            key_norm,
            config.norm_eps,
            QUERIES=config.heads,
            HALF=half,
            WIDTH=triton.next_power_of_2(half),
            NORMED=norms is not None,
            num_warps=1,
        )
        return heads[:, : config.heads], heads[:, config.heads : turned], heads[:, turned:]

    def gate(self, gate_up: Tensor) -> Tensor:
        assert gate_up.is_contiguous(), "a foreign layout"
        rows, size = gate_up.shape[0], gate_up.shape[1] // 2
        out = gate_up.new_empty((rows, size))
        gate_kernel[(rows, triton.cdiv(size, GATE_WIDTH))](
            gate_up, out, SIZE=size, WIDTH=GATE_WIDTH
        )
        return out

    def attention(self, cache: KvCache) -> TritonAttention:
        return TritonAttention(self._config, cache, interpreted=is_interpreted())
