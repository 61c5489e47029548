"""Ways to damage a file: blindly, byte by byte, or knowing where its numbers stand.

Blind damage is mostly caught by the first check of all. So JSON is damaged as a
tree, too, and the head of a GGUF file at the places of its counts, lengths, types,
sizes and offsets; what comes out has the form of such a file and a lie in it.
Everything is drawn from a seed.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

NUMBERS = (0, 1, 2, 3, 7, 8, 9, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
NASTY: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: -1,
    lambda: 0,
    lambda: 1,
    lambda: 2,
    lambda: 3,
    lambda: 2**20,
    lambda: 2**31,
    lambda: 2**63,
    lambda: 10**400,
    lambda: 1e308,
    lambda: 5e-324,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: "",
    lambda: "a\0b",
    lambda: "\ud800",
    lambda: "x" * 5000,
    lambda: "../x",
    list,
    dict,
    lambda: [[]],
    lambda: [None],
    lambda: ["x", 1],
    lambda: {"": None},
    lambda: nested(90),
    lambda: nested(900),
)


def nested(depth: int) -> list[Any]:
    """A list in a list in a list."""
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(rng: random.Random, content: bytes) -> bytes:
    """Some bits, mostly near the beginning, where what describes the rest is."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 20))):
        damaged[rng.randrange(rng.choice((64, 2000, len(damaged))) % len(damaged) or 1)] ^= (
            1 << rng.randrange(8)
        )
    return bytes(damaged)


def overwrite(rng: random.Random, content: bytes) -> bytes:
    """A number over whatever is there."""
    size = rng.choice((4, 8))
    number = rng.choice(NUMBERS) % (1 << 8 * size)
    at = rng.randrange(min(len(content), rng.choice((64, 4000))))
    return content[:at] + number.to_bytes(size, "little") + content[at + size :]


def remove(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + content[at + rng.choice((1, 8, 500)) :]


def repeat(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    part = content[at : at + rng.choice((1, 8, 500))]
    return content[:at] + part + content[at:]


BLIND: tuple[Mutation, ...] = (truncate, flip, overwrite, remove, repeat)


def damage_json(rng: random.Random, content: bytes) -> bytes:
    """One or two values replaced, removed or given twice."""
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        places = list(_places(tree))
        if not places:
            break
        parent, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[f"{key}{rng.choice('0 x')}"] = parent.pop(key)
            case 2 if isinstance(parent[key], int):
                parent[key] += rng.choice((-1, 1, 8, 2**40))
            case _:
                parent[key] = rng.choice(NASTY)()
    text = json.dumps(tree)
    if rng.random() < 0.1 and text.startswith("{") and len(tree):
        key = rng.choice(list(tree))
        text = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(rng.choice(NASTY)())}}}"
    return text.encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            if len(tree) < 100:  # a vocabulary need not be walked
                yield from _places(tree[key])


def damage_safetensors(rng: random.Random, content: bytes) -> bytes:
    """The header as JSON, with its right length, before the same data."""
    (size,) = struct.unpack("<Q", content[:8])
    header = damage_json(rng, content[8 : 8 + size])
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def damage_gguf(rng: random.Random, content: bytes) -> bytes:
    """Another number where one stands in the head."""
    damaged = bytearray(content)
    numbers = list(gguf_numbers(content))
    for _ in range(rng.choice((1, 1, 1, 2))):
        at, size = rng.choice(numbers)
        here = int.from_bytes(content[at : at + size], "little")
        near = (here + rng.choice((-1, 1, 32))) % (1 << 8 * size)
        number = rng.choice((near, rng.choice(NUMBERS))) % (1 << 8 * size)
        damaged[at : at + size] = number.to_bytes(size, "little")
    return bytes(damaged)


WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def gguf_numbers(content: bytes) -> Iterator[tuple[int, int]]:
    """Place and width of all numbers in the head of a sound file, of long arrays only some."""
    at = 4

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(content[at - size : at], "little")

    def text() -> None:
        nonlocal at
        size = number(8)
        at += size

    def value(kind: int) -> Iterator[tuple[int, int]]:
        nonlocal at
        yield at, WIDTHS.get(kind, 8)
        if kind == STRING:
            text()
        elif kind == ARRAY:
            yield at + 4, 8
            of, count = number(4), number(8)
            for index in range(count):
                places = list(value(of))
                yield from places if index < 3 else ()
        else:
            at += WIDTHS[kind]

    yield at, 4
    yield at + 4, 8
    yield at + 12, 8
    number(4)
    tensors, values = number(8), number(8)
    for _ in range(values):
        yield at, 8
        text()
        yield at, 4
        yield from value(number(4))
    for _ in range(tensors):
        yield at, 8
        text()
        yield at, 4
        dimensions = number(4)
        yield from ((at + 8 * n, 8) for n in range(dimensions))
        at += 8 * dimensions
        yield at, 4
        yield at + 4, 8
        at += 12
