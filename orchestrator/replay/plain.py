"""Frozen dataclasses as plain JSON values and back, by their own annotations.

Encoding writes every field. Decoding is strict: a field that is missing, unknown
or of another kind is `Damaged`, and the message says where. So what was read is
what was written, and a recording made under other definitions is not taken for
one made under these. Floats come back to the last bit, as Python writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints


class Damaged(Exception):
    """This is not what was written, or it was written under other definitions."""


def encode(value: Any) -> Any:
    """What `json.dumps` takes."""
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(kind: Any, plain: Any, where: str) -> Any:
    """A value of this kind. Raises Damaged, naming the place below `where`."""
    if isinstance(kind, NewType):
        return decode(kind.__supertype__, plain, where)
    if is_dataclass(kind):
        return _decode_fields(kind, plain, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _decode_optional(arguments, plain, where)
    if origin is tuple:
        return _decode_items(arguments, plain, where)
    if origin in (dict, Mapping):
        _require(plain, dict, where)
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in plain.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _decode_word(kind, plain, where)
    return _require(plain, kind, where)


def _decode_fields(kind: Any, plain: Any, where: str) -> Any:
    _require(plain, dict, where)
    hints = _hints(kind)
    for name in hints:
        if name not in plain:
            raise Damaged(f"{where}.{name} is missing")
    for name in plain:
        if name not in hints:
            raise Damaged(f"{where}.{name} is unknown")
    return kind(**{name: decode(hints[name], plain[name], f"{where}.{name}") for name in hints})


def _decode_optional(kinds: tuple[Any, ...], plain: Any, where: str) -> Any:
    (kind,) = (each for each in kinds if each is not NoneType)
    return None if plain is None else decode(kind, plain, where)


def _decode_items(kinds: tuple[Any, ...], plain: Any, where: str) -> tuple[Any, ...]:
    _require(plain, list, where)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(plain)
    if len(kinds) != len(plain):
        raise Damaged(f"{where} has {len(plain)} items, not {len(kinds)}")
    return tuple(
        decode(kind, item, f"{where}[{place}]")
        for place, (kind, item) in enumerate(zip(kinds, plain, strict=True))
    )


def _decode_word(kind: type[Enum], plain: Any, where: str) -> Enum:
    try:
        return kind(plain)
    except ValueError:
        raise Damaged(f"{where} is {plain!r}, which no {kind.__name__} is") from None


def _require(plain: Any, kind: type, where: str) -> Any:
    """No number passes for a truth value, and no truth value for a number."""
    if type(plain) is not kind:
        raise Damaged(f"{where} is a {type(plain).__name__}, not a {kind.__name__}")
    return plain


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The kinds of its fields."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
