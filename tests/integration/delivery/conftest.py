"""A small model's files, a server that has them, and an impatient delivery."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicas.delivery.config import Delivery, Patience
from tests.integration.delivery.server import ModelServer, serving

WEIGHTS_BYTES = 600_000
CHUNK_BYTES = 64 << 10


@pytest.fixture
def files() -> dict[str, bytes]:
    return {
        "config.json": b"{}",
        "tokenizer.json": b'{"a": 1}',
        "tokenizer_config.json": b"{}",
        "model.safetensors": random.Random(1).randbytes(WEIGHTS_BYTES),
        "pytorch_model.bin": b"pickled",
    }


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[ModelServer]:
    with serving(files) as server:
        yield server


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    patience = Patience(tries=4, first_ms=1, longest_ms=4)
    return Delivery(tmp_path / "cache", patience=patience, chunk_bytes=CHUNK_BYTES)
