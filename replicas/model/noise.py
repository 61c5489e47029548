"""Randomness without a generator: noise that is a function of seed, position and token.

Every uniform number is a hash of the three (SplitMix64: a keyed counter and
its finalizer; Steele, Lea and Flood, 2014). No state is kept, so a choice
draws the same noise in whatever row, batch or replica its next token is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def noise_key(seed: int, position: int) -> int:
    """The key of one draw: 64 bits in which seed and position are well mixed."""
    return _mix_word(_mix_word(seed & _WORD) + position)


def gumbel_noise(keys: Sequence[int], tokens: int, device: torch.device) -> Tensor:
    """[keys, tokens] of standard Gumbel noise in float64.

    The token that maximises log-weight plus this noise is a draw from the
    weights, with no sum and no normalisation.
    """
    key = torch.tensor([_signed(key) for key in keys], dtype=torch.int64, device=device)
    counter = torch.arange(1, tokens + 1, dtype=torch.int64, device=device)
    bits = _mix(key[:, None] + counter * _signed(_GOLDEN))
    # 52 bits and a half: never 0 and never 1, also after rounding.
    uniform = (_shifted(bits, 12).double() + 0.5) * 2.0**-52
    return uniform.log_().neg_().log_().neg_()


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _signed(_FIRST)
    x = (x ^ _shifted(x, 27)) * _signed(_SECOND)
    return x ^ _shifted(x, 31)


def _mix_word(word: int) -> int:
    word = (word + _GOLDEN) & _WORD
    word = ((word ^ (word >> 30)) * _FIRST) & _WORD
    word = ((word ^ (word >> 27)) * _SECOND) & _WORD
    return word ^ (word >> 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right as if unsigned: torch's words are signed and would drag the sign along."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    """The same 64 bits read as a signed integer."""
    return word - (1 << 64) if word >> 63 else word
