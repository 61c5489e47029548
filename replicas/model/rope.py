"""Rotary position embedding: turn each pair of a head's features by an angle that grows
with the position.

Feature i is paired with feature i + half. Angles are computed in float32 for
the positions of a step and shared by all layers; there is no table to size by
the model's context.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from replicas.model.config import LinearScaling, Llama3Scaling, ModelConfig


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosine and sine for each token of a step, shaped to meet [tokens, heads, half]."""

    cosine: Tensor
    sine: Tensor

    def apply(self, heads: Tensor) -> Tensor:
        """Rotated heads; `heads` is [tokens, heads, features]."""
        first, second = heads.chunk(2, dim=-1)
        return torch.cat(
            (
                first * self.cosine - second * self.sine,
                second * self.cosine + first * self.sine,
            ),
            dim=-1,
        )


class Rope:
    """The frequencies of one model."""

    def __init__(self, config: ModelConfig, *, device: torch.device, dtype: torch.dtype) -> None:
        self._frequencies = frequencies(config).to(device)
        self._dtype = dtype

    def rotation(self, positions: Tensor) -> Rotation:
        """The rotation for tokens at these positions."""
        angles = torch.outer(positions.float(), self._frequencies).unsqueeze(1)
        return Rotation(angles.cos().to(self._dtype), angles.sin().to(self._dtype))


def frequencies(config: ModelConfig) -> Tensor:
    """Radians per position of each feature pair, scaling included."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    plain = 1.0 / config.rope.theta**exponents
    match config.rope.scaling:
        case None:
            return plain
        case LinearScaling(factor):
            return plain / factor
        case Llama3Scaling() as scaling:
            return _stretched(plain, scaling)


def _stretched(plain: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Waves that repeat often within the original context stay, those that hardly fit are
    slowed by the factor, and between the two the choice is blended."""
    repeats = scaling.context_original * plain / (2 * math.pi)
    kept = (repeats - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    kept = kept.clamp(0.0, 1.0)
    return kept * plain + (1.0 - kept) * plain / scaling.factor
