"""The decoder's arithmetic by Triton: products by torch, the rest by kernels of our own.

Imported where the device is CUDA, or where Triton's interpreter is asked for:
Triton is there with torch's builds for CUDA only, and decides at its import
whether kernels are compiled or interpreted. Activations are of the type of the
weights. Products are torch's, which may pick another order of summing for another
number of rows; deterministic kernels make their own (triton_linear.py), slower,
and only on a card: in the interpreter products are numpy's.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import torch
import triton
from torch import Tensor

from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Linear, NotUsable
from replicas.model.kernels.triton_linear import linear_kernel
from replicas.model.kernels.triton_rows import gate_kernel, norm_kernel
from replicas.model.kernels.triton_step import FACTORS, ROWS, TritonAttention, factor_of
from replicas.model.kv_cache import KvCache
from replicas.model.linear import PlainLinear

GATE_WIDTH = 1024
LINEAR_OUTPUTS = 64  # of a program, and how many inputs it takes at once: fixed, not yet tuned
LINEAR_INPUTS = 64


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on tensors of the CPU."""
    return bool(triton.knobs.runtime.interpret)


def products_are_even() -> bool:
    """Whether the bits of a row's product are the same wherever in a tile the row lies.

    So a matrix unit makes them. What numpy makes for the interpreter may differ in the last.
    """
    return not is_interpreted()


def open_triton(
    config: ModelConfig, *, device: torch.device, dtype: torch.dtype, deterministic: bool
) -> TritonKernels:
    """The kernels, after one of them has computed here; raises NotUsable.

    Where they are to be deterministic and cannot be, they have no name for their arithmetic.
    """
    if device.type == "cpu" and not is_interpreted():
        raise NotUsable("on a CPU they are interpreted only, with TRITON_INTERPRET=1")
    if config.group > ROWS or dtype not in FACTORS:
        raise NotUsable(f"they do not take {config.group} heads for one of keys as {dtype}")
    arithmetic = _arithmetic(device) if deterministic and products_are_even() else None
    kernels = TritonKernels(config, dtype=dtype, arithmetic=arithmetic)
    ones = torch.ones((1, config.hidden_size), device=device, dtype=dtype)
    try:
        sound = bool(torch.isfinite(kernels.norm(ones, ones[0])).all())
    except Exception as error:  # of a compiler, a driver or a linker: whatever it is, it is why
        raise NotUsable(f"{type(error).__name__}: {error}") from error
    if not sound:
        raise NotUsable("the first of them computed what is no number")
    return kernels


class TiledLinear:
    """A product whose sums have one order for any number of rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight.contiguous()
        self._bias = bias
        self._factor = factor_of(weight.dtype, interpreted=is_interpreted())

    def __call__(self, x: Tensor) -> Tensor:
        assert x.is_contiguous(), "a foreign layout"
        rows, size = x.shape
        outputs = self._weight.shape[0]
        out = x.new_empty((rows, outputs))
        linear_kernel[(triton.cdiv(outputs, LINEAR_OUTPUTS), triton.cdiv(rows, ROWS))](
            x,
            self._weight,
            x if self._bias is None else self._bias,
            out,
            rows,
            outputs,
            SIZE=size,
            ROWS=ROWS,
            OUTPUTS=LINEAR_OUTPUTS,
            INPUTS=LINEAR_INPUTS,
            FACTOR=self._factor,
            BIASED=self._bias is not None,
            num_warps=4,
            num_stages=3,
            enable_fp_fusion=False,
        )
        return out


def _arithmetic(device: torch.device) -> str:
    """The sources, what compiles and runs them, and what for."""
    on = "interpreted" if is_interpreted() else str(torch.cuda.get_device_capability(device))
    sources = digest_of(Path(__file__).parent)
    return f"kernels {sources}, triton {triton.__version__}, torch {torch.__version__}, {on}"


def digest_of(folder: Path) -> str:
    """Of all that our kernels and the order of their sums are written in, constants included."""
    digest = blake2b(digest_size=12)
    for source in sorted(folder.glob("triton_*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


class TritonKernels:
    """The kernels for one model: deterministic ones have a name for their arithmetic."""

    def __init__(self, config: ModelConfig, *, dtype: torch.dtype, arithmetic: str | None) -> None:
        self._config = config
        self.dtype = dtype
        self.arithmetic = arithmetic
        self.name = "triton" if arithmetic is None else "triton, deterministic"
        if is_interpreted():
            self.name += ", interpreted"

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        if self.arithmetic is None:
            return PlainLinear(weight, bias)
        return TiledLinear(weight, bias)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        assert x.is_contiguous(), "a foreign layout"
        rows, size = x.shape
        out = torch.empty_like(x)
        norm_kernel[(rows,)](
            x, weight, out, self._config.norm_eps, SIZE=size, WIDTH=triton.next_power_of_2(size)
        )
        return out

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
