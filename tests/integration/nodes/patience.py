"""Who wants to wait for nodes that come and go says so."""

from __future__ import annotations

import os

import pytest

TAKES_MINUTES = pytest.mark.skipif(
    "BLOCKYARD_NODES" not in os.environ,
    reason="nodes that come and go take some five minutes a test: set BLOCKYARD_NODES=1",
)
