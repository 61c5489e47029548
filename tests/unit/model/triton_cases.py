"""Steps for the Triton kernels, on a card or in Triton's interpreter, next to torch's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version

import pytest
import torch
from torch import Tensor

from replicas.engine.plan import Row
from replicas.model.config import ModelConfig
from replicas.model.kernels.choice import choose_kernels
from replicas.model.kernels.plain import TorchKernels
from replicas.model.kernels.seam import Kernels
from tests.differential.kernels import CPU, Scene, attend

# Of attention over values around 1. A bfloat16 has 8 bits, and weights are rounded to it too.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def triton_kernels(
    config: ModelConfig,
    dtype: torch.dtype,
    device: torch.device = CPU,
    *,
    deterministic: bool = False,
) -> Kernels:
    """The kernels; the test is skipped where there is no Triton that could run them."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    if device.type == "cpu" and torch.cuda.is_available():
        pytest.skip("there is a card, and tests/gpu runs the same checks on it")
    if device.type == "cpu" and tuple(map(int, version("triton").split(".")[:2])) < (3, 9):
        pytest.skip("before 3.9, Triton's interpreter does not know this numpy")
    return choose_kernels(
        config, asked="triton", device=device, dtype=dtype, deterministic=deterministic
    )


class Pair:
    """One scene for both kinds of kernels. The reference computes in float32, on the CPU."""

    def __init__(
        self,
        config: ModelConfig,
        scene: Scene,
        dtype: torch.dtype,
        device: torch.device = CPU,
    ) -> None:
        self._config = config
        self._scene = scene
        self._dtype = dtype
        self._device = device
        self.kernels = triton_kernels(config, dtype, device)

    def heads(self, tokens: int) -> Tensor:
        """Queries, keys and values that the type holds exactly, so that both store the same."""
        return self._scene.heads(tokens).to(self._dtype)

    def attend(self, rows: Sequence[Row], heads: Tensor) -> tuple[list[Tensor], Tensor]:
        """What Triton's kernels find for each row, and the pool after it."""
        cache = self._scene.cache(self._dtype)
        cache.pool = cache.pool.to(self._device)
        found = attend(self.kernels, self._config, cache, rows, heads.to(self._device))
        return [each.cpu() for each in found], cache.pool.cpu()

    def check(self, rows: Sequence[Row], heads: Tensor) -> list[Tensor]:
        """What they find, after a look at what torch finds and where it stores."""
        found, pool = self.attend(rows, heads)
        cache = self._scene.cache(self._dtype)
        cache.pool = cache.pool.float()
        plain = TorchKernels(self._config, device=cache.pool.device, dtype=torch.float32)
        expected = attend(plain, self._config, cache, rows, heads.float())
        assert torch.equal(pool.float(), cache.pool)
        limit = TOLERANCE[self._dtype]
        for row, mine, theirs in zip(rows, found, expected, strict=True):
            assert mine.dtype is self._dtype
            assert torch.allclose(mine.float(), theirs, atol=limit, rtol=limit), row.start
        return found


def own_heads(rows: Sequence[Row], heads: Tensor, n: int) -> Tensor:
    """Those of row `n`, of the heads of all."""
    first = sum(len(row.tokens) for row in rows[:n])
    return heads[first : first + len(rows[n].tokens)]
