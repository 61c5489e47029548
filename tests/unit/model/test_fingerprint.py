"""The revision changes with configuration and weights, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from replicas.model.fingerprint import HEAD_BYTES, SAMPLE_BYTES, revision_of
from tests.unit.model.checkpoints import SMALL


def test_configuration_and_content_count(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"weights")
    revision = revision_of(SMALL, [file])
    assert len(revision) == 32
    assert revision_of(replace(SMALL, norm_eps=1e-6), [file]) != revision
    file.write_bytes(b"weightz")
    assert revision_of(SMALL, [file]) != revision


def test_the_arithmetic_counts_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"weights")
    revisions = {revision_of(SMALL, [file], named) for named in (None, "of one CPU", "of another")}
    assert len(revisions) == 3


def test_names_and_order_of_files_do_not_count(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    revision = revision_of(SMALL, [one, other])
    assert revision_of(SMALL, [other, one]) == revision
    one.rename(tmp_path / "renamed")
    assert revision_of(SMALL, [other, tmp_path / "renamed"]) == revision


def test_every_byte_of_a_file_of_some_megabytes_counts(tmp_path: Path) -> None:
    size = HEAD_BYTES + 9 * SAMPLE_BYTES + 5
    content = bytearray(size)
    file = tmp_path / "w"
    file.write_bytes(content)
    revision = revision_of(SMALL, [file])
    for place in (0, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + SAMPLE_BYTES, size - 1):
        changed = content.copy()
        changed[place] = 1
        file.write_bytes(changed)
        assert revision_of(SMALL, [file]) != revision, place


def test_a_large_file_is_sampled_from_end_to_end(tmp_path: Path) -> None:
    """Sparse files of 1 GiB: a difference as wide as a tensor is seen wherever it lies."""
    size = 1 << 30
    file = tmp_path / "w"
    with file.open("wb") as sparse:
        sparse.truncate(size)
    revision = revision_of(SMALL, [file])
    with file.open("r+b") as sparse:
        sparse.truncate(size - 1)
    assert revision_of(SMALL, [file]) != revision
    with file.open("r+b") as sparse:
        sparse.truncate(size)
    for place in (size // 3, size - (5 << 20)):
        with file.open("r+b") as sparse:
            sparse.seek(place)
            sparse.write(b"\1" * (5 << 20))
        changed = revision_of(SMALL, [file])
        assert changed != revision
        revision = changed
