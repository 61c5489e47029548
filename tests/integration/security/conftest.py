"""A gateway whose doors need keys, over the scripted replica of the gateway's own tests."""

from __future__ import annotations

from tests.integration.gateway.conftest import registry, replica

__all__ = ["registry", "replica"]
