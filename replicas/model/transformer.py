"""The decoder: tokens in, hidden states and logits out.

One function of a step's tokens over a paged KV cache; which rows they belong
to is the step's business, how products and attention are computed that of the
kernels. Logits are computed only where a token will be chosen, since the head
is as large as several layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from replicas.model.config import ModelConfig
from replicas.model.kernels.seam import Kernels, ModelStep
from replicas.model.rope import Rope
from replicas.model.weights import Weights


class Transformer:
    """A decoder of the Llama family. Stateless between calls."""

    def __init__(
        self, config: ModelConfig, weights: Weights, kernels: Kernels, *, device: torch.device
    ) -> None:
        self._config = config
        self._weights = weights
        self._kernels = kernels
        self._rope = Rope(config, device=device, dtype=kernels.dtype)

    def logits(self, step: ModelStep) -> Tensor:
        """Compute all tokens' KV; return [sampled rows, vocabulary] in float32."""
        kernels, weights = self._kernels, self._weights
        hidden = functional.embedding(step.tokens, weights.embedding).to(kernels.dtype)
        rotation = self._rope.rotation(step.positions)
        for n, layer in enumerate(weights.layers):
            normed = kernels.norm(hidden, layer.input_norm)
            heads = layer.qkv(normed).view(len(normed), -1, self._config.head_dim)
            attended = step.attend(n, heads, rotation, layer.head_norms)
            hidden = hidden + layer.output(attended.flatten(1))
            normed = kernels.norm(hidden, layer.post_norm)
            hidden = hidden + layer.down(kernels.gate(layer.gate_up(normed)))
        if step.last.shape[0] == 0:
            return hidden.new_empty((0, self._config.vocab_size), dtype=torch.float32)
        return weights.head(kernels.norm(hidden[step.last], weights.norm)).float()
