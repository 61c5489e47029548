"""The revision of a model: a digest that tells weights apart without reading all of them.

KV blocks may be shared only between replicas that compute the same KV, so the
name of every block begins with this digest. It covers the parsed configuration,
where bits count the arithmetic, and, per weight file, its length, its beginning
(the header: names, types and shapes) and evenly spaced samples of its content.
Files up to a few megabytes are covered whole; of larger ones, every fine-tuning
changes samples, while two files of equal length that differ in a few bytes only
may pass for the same. File names do not count: a copy elsewhere is the same
revision.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from replicas.model.config import ModelConfig

HEAD_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 14
SAMPLES = 256  # 4 MiB a file: some milliseconds, for a model of any size


def revision_of(config: ModelConfig, files: Iterable[Path], arithmetic: str | None = None) -> str:
    """32 hexadecimal digits. The order of files does not matter."""
    digest = blake2b(repr(config).encode(), digest_size=16)
    if arithmetic is not None:
        digest.update(arithmetic.encode())
    for file_digest in sorted(_file_digest(path) for path in files):
        digest.update(file_digest)
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        size = path.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        digest.update(file.read(HEAD_BYTES))
        rest = max(0, size - HEAD_BYTES)
        stride = max(SAMPLE_BYTES, rest // SAMPLES)
        for offset in range(HEAD_BYTES, size, stride):
            file.seek(offset)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.digest()
