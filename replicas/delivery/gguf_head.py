"""How much of a GGUF file comes before its weights: metadata, tokenizer, names of tensors.

A gateway needs the tokenizer alone, which lies in that head. The walk knows
the lengths of values and nothing of what they mean.
"""

from __future__ import annotations

import struct

from replicas.delivery.errors import RemoteUnsound

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
# Bytes of a value of each type that is not one of the two above.
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
DIMENSIONS_MAX = 4
NESTED_MAX = 4


class NeedsMore(Exception):
    """The head is longer than what is here."""


def head_bytes(beginning: bytes) -> int:
    """Raises NeedsMore, and RemoteUnsound where this is no GGUF file."""
    walk = _Walk(beginning)
    if walk.take(4) != MAGIC:
        raise RemoteUnsound("It does not begin as a GGUF file does.")
    if walk.number("<I") not in VERSIONS:
        raise RemoteUnsound("It is of a version of GGUF that is not known.")
    tensors, values = walk.number("<Q"), walk.number("<Q")
    for _ in range(values):
        walk.string()
        walk.value(walk.number("<I"))
    for _ in range(tensors):
        walk.string()
        dimensions = walk.number("<I")
        if dimensions > DIMENSIONS_MAX:
            raise RemoteUnsound(f"A tensor in it has {dimensions} dimensions.")
        walk.take(8 * dimensions + 4 + 8)  # sizes, type, offset
    return walk.at


class _Walk:
    def __init__(self, beginning: bytes) -> None:
        self._bytes = beginning
        self.at = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._bytes):
            raise NeedsMore
        taken = self._bytes[self.at : end]
        self.at = end
        return taken

    def number(self, form: str) -> int:
        (number,) = struct.unpack(form, self.take(struct.calcsize(form)))
        assert isinstance(number, int)
        return number

    def string(self) -> None:
        self.take(self.number("<Q"))

    def value(self, kind: int, nested: int = 0) -> None:
        if kind == STRING:
            self.string()
        elif kind == ARRAY and nested < NESTED_MAX:
            of, count = self.number("<I"), self.number("<Q")
            if of in WIDTHS:
                self.take(WIDTHS[of] * count)
                return
            for _ in range(count):
                self.value(of, nested + 1)
        elif kind in WIDTHS:
            self.take(WIDTHS[kind])
        else:
            raise RemoteUnsound(f"A value in it is of type {kind}, which GGUF does not have.")
