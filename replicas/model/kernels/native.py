"""The decoder's arithmetic by the C++ kernels: on a CPU, one thread, activations in float32.

Weights and KV keep the type that the model was loaded in. A result has the
same bits whatever else is in the step (cpu.cpp says why), so a request's
logits do not depend on its company, on chunks, or on what was found cached.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from replicas.model.config import ModelConfig
from replicas.model.kernels.library import STORED, Library
from replicas.model.kernels.native_attention import NativeAttention
from replicas.model.kernels.seam import Linear, Norms
from replicas.model.kv_cache import KvCache
from replicas.model.rope import Rotation


def suits(library: Library, config: ModelConfig, dtype: torch.dtype) -> bool:
    """Whether the kernels can compute this model: a head must fill whole vectors."""
    return dtype in STORED and config.head_dim % library.lanes == 0


class NativeLinear:
    """A product whose weight lies in panels, in the order in which it is read."""

    def __init__(self, library: Library, weight: Tensor, bias: Tensor | None) -> None:
        self._outputs, self._inputs = weight.shape
        self._product = library.product[weight.dtype]
        self._weight = in_panels(weight, library.lanes)
        padding = -self._outputs % (2 * library.lanes)
        self._bias = None if bias is None else functional.pad(bias.float(), (0, padding))

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        out = torch.empty((rows, self._outputs))
        bias = None if self._bias is None else self._bias.data_ptr()
        self._product(
            _address(x),
            self._weight.data_ptr(),
            bias,
            out.data_ptr(),
            rows,
            self._outputs,
            self._inputs,
        )
        return out


def in_panels(weight: Tensor, lanes: int) -> Tensor:
    """[panels, inputs, 2 * lanes]: the weights of so many outputs for one input lie together.

    In bfloat16 the outputs of the two halves of a panel alternate, so that one
    load gives two vectors: the low and the high halves of its words.
    """
    outputs, inputs = weight.shape
    padded = functional.pad(weight, (0, 0, 0, -outputs % (2 * lanes)))
    halves = padded.view(-1, 2, lanes, inputs)
    order = (0, 3, 1, 2) if weight.dtype == torch.float32 else (0, 3, 2, 1)
    return halves.permute(order).reshape(-1, inputs, 2 * lanes).contiguous()


class NativeKernels:
    """The kernels of one build for one model."""

    dtype = torch.float32

    def __init__(self, library: Library, config: ModelConfig) -> None:
        self._library = library
        self._config = config
        self.name = f"native, {32 * library.lanes} bits wide"
        self.arithmetic = f"{library.name}, torch {torch.__version__}"

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        return NativeLinear(self._library, weight, bias)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        out = torch.empty_like(x)
        rows, width = x.shape
        eps = self._config.norm_eps
        self._library.norm(_address(x), _address(weight), eps, out.data_ptr(), rows, width)
        return out

    def turn(
        self, heads: Tensor, rotation: Rotation, norms: Norms | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As the seam's Turn says, in place."""
        config = self._config
        query_norm, key_norm = (None, None) if norms is None else map(_address, norms)
        turned = config.heads + config.kv_heads
        self._library.turn(
            _address(heads),
            heads.stride(0),
            _address(rotation.cosine),
            _address(rotation.sine),
            query_norm,
            key_norm,
            config.norm_eps,
            heads.shape[0],
            config.heads,
            turned,
            config.head_dim,
        )
        return heads[:, : config.heads], heads[:, config.heads : turned], heads[:, turned:]

    def gate(self, gate_up: Tensor) -> Tensor:
        rows, width = gate_up.shape[0], gate_up.shape[1] // 2
        out = torch.empty((rows, width))
        self._library.gate(_address(gate_up), out.data_ptr(), rows, width)
        return out

    def attention(self, cache: KvCache) -> NativeAttention:
        return NativeAttention(self._library, self._config, cache, self.turn)


def _address(x: Tensor) -> int:
    assert x.dtype == torch.float32 and x.is_contiguous(), "not what the kernels read"
    return x.data_ptr()
