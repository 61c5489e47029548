"""However far a file came before, and in whatever chunks, it ends as it should be.

Hypothesis chooses what came before (a beginning, garbage, too much) and the size of a chunk; the
store is fsspec's own in memory. Fails if `_digest_beginning` forgets to count what is here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from uuid import uuid4

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicas.delivery.config import Delivery, Patience
from replicas.delivery.contents import Part, survey
from replicas.delivery.errors import ChecksumMismatch
from replicas.delivery.fetch import fetch
from replicas.delivery.location import locate
from replicas.delivery.shelf import Shelf
from replicas.delivery.store import Store
from replicas.delivery.sums import digest_of

WEIGHTS = bytes(range(256)) * 16
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    memory, name = fsspec.filesystem("memory"), uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for file, data in FILES.items():
            path = Path(folder, file)
            path.write_bytes(data)
            lines.append(f"{digest_of(path)}  {file}\n")
            memory.pipe_file(f"/{name}/{file}", data)
    memory.pipe_file(f"/{name}/SHA256SUMS", "".join(lines).encode())
    yield f"memory://{name}"
    memory.rm(f"/{name}", recursive=True)


def fetched_after(url: str, before: bytes, chunk_bytes: int) -> bytes:
    with tempfile.TemporaryDirectory() as cache:
        delivery = Delivery(Path(cache), patience=Patience(tries=1), chunk_bytes=chunk_bytes)
        location = locate(url)
        contents = survey(Store(location, delivery, Event()), Part.WHOLE)
        shelf = Shelf(Path(cache), location)
        with shelf.lock(contents).open("ab"):
            (shelf.draft(contents) / "model.safetensors").write_bytes(before)
        return (fetch(location, delivery) / "model.safetensors").read_bytes()


@settings(max_examples=60, deadline=None)
@given(came=st.integers(0, len(WEIGHTS)), chunk_bytes=st.integers(1, 2 * len(WEIGHTS)))
def test_whatever_came_before_is_gone_on_with(url: str, came: int, chunk_bytes: int) -> None:
    chunk_bytes = max(chunk_bytes, 64)  # a call for each byte proves no more
    assert fetched_after(url, WEIGHTS[:came], chunk_bytes) == WEIGHTS


@settings(max_examples=20, deadline=None)
@given(garbage=st.binary(min_size=1, max_size=64))
def test_garbage_that_came_before_is_found_out(url: str, garbage: bytes) -> None:
    if WEIGHTS.startswith(garbage):
        return
    with pytest.raises(ChecksumMismatch):
        fetched_after(url, garbage, 1024)


def test_more_than_there_should_be_is_thrown_away(url: str) -> None:
    assert fetched_after(url, WEIGHTS + b"more", 1024) == WEIGHTS
