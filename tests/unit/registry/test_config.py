"""A bound of nothing is no bound."""

from __future__ import annotations

import pytest

from orchestrator.registry.config import RegistryConfig


@pytest.mark.parametrize("lease_ms, slots_max", [(0, 1), (1, 0), (-3000, 8)])
def test_bounds_are_positive(lease_ms: int, slots_max: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        RegistryConfig(lease_ms=lease_ms, slots_max=slots_max)
