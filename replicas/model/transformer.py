"""The decoder: tokens in, hidden states and logits out.

One function of a step's tokens over a paged KV cache; which rows they belong
to is the attention's business. Logits are computed only where a token will be
chosen, since the head is as large as several layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from replicas.model.batch import StepBatch
from replicas.model.config import ModelConfig
from replicas.model.paged_attention import PagedAttention
from replicas.model.rope import Rope, Rotation
from replicas.model.weights import LayerWeights, Weights


class Transformer:
    """A decoder of the Llama family. Stateless between calls."""

    def __init__(
        self, config: ModelConfig, weights: Weights, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._config = config
        self._weights = weights
        self._rope = Rope(config, device=device, dtype=dtype)

    def logits(self, batch: StepBatch, attention: PagedAttention) -> Tensor:
        """Compute all tokens' KV; return [sampled rows, vocabulary] in float32."""
        hidden = functional.embedding(batch.tokens, self._weights.embedding)
        rotation = self._rope.rotation(batch.positions)
        for n, layer in enumerate(self._weights.layers):
            normed = self._norm(hidden, layer.input_norm)
            queries, keys, values = self._heads(normed, layer, rotation)
            attended = attention.attend(n, queries, keys, values, batch)
            hidden = hidden + layer.output(attended.flatten(1))
            hidden = hidden + _feed_forward(self._norm(hidden, layer.post_norm), layer)
        last = self._norm(hidden[batch.last], self._weights.norm)
        if last.shape[0] == 0:
            return last.new_empty((0, self._config.vocab_size), dtype=torch.float32)
        return self._weights.head(last).float()

    def _heads(
        self, normed: Tensor, layer: LayerWeights, rotation: Rotation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values as [tokens, heads, head_dim], normed and rotated."""
        heads = layer.qkv(normed).view(normed.shape[0], -1, self._config.head_dim)
        query_heads, key_heads = self._config.heads, self._config.kv_heads
        turning, values = heads[:, : query_heads + key_heads], heads[:, query_heads + key_heads :]
        if layer.query_norm is not None and layer.key_norm is not None:
            queries = self._norm(turning[:, :query_heads], layer.query_norm)
            keys = self._norm(turning[:, query_heads:], layer.key_norm)
            turning = torch.cat((queries, keys), dim=1)
        turned = rotation.apply(turning)
        return turned[:, :query_heads], turned[:, query_heads:], values

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self._config.norm_eps)


def _feed_forward(normed: Tensor, layer: LayerWeights) -> Tensor:
    gate, up = layer.gate_up(normed).chunk(2, dim=-1)
    return layer.down(functional.silu(gate) * up)
