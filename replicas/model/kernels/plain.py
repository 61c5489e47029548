"""The decoder's arithmetic in torch: on every device, in every type, and the reference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Linear, Norms
from replicas.model.kv_cache import KvCache
from replicas.model.linear import PlainLinear, choose_linear
from replicas.model.paged_attention import PagedAttention
from replicas.model.rope import Rotation


class TorchKernels:
    """Activations are of the type of the weights."""

    arithmetic = None  # neither torch's attention nor all of its products have a fixed order

    def __init__(self, config: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        self._config = config
        self._make_linear = choose_linear(device, dtype)
        self.dtype = dtype
        self.name = "torch" if self._make_linear is PlainLinear else "torch, oneDNN-packed"

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        return self._make_linear(weight, bias)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._config.norm_eps)

    def turn(
        self, heads: Tensor, rotation: Rotation, norms: Norms | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As the seam's Turn says."""
        query_heads, key_heads = self._config.heads, self._config.kv_heads
        turning, values = heads[:, : query_heads + key_heads], heads[:, query_heads + key_heads :]
        if norms is not None:
            queries = self.norm(turning[:, :query_heads], norms[0])
            keys = self.norm(turning[:, query_heads:], norms[1])
            turning = torch.cat((queries, keys), dim=1)
        turned = rotation.apply(turning)
        return turned[:, :query_heads], turned[:, query_heads:], values

    def gate(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return functional.silu(gate) * up

    def attention(self, cache: KvCache) -> PagedAttention:
        return PagedAttention(self._config, cache, self.turn)
