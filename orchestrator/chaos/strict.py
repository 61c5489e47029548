"""Dataclasses from TOML tables, strictly: an unknown key, a missing one, a wrong type is an error.

The types are read from the dataclasses themselves, so a new field needs no
code here. A fault is written as a table with `at_s` and `kind`, the name of
its class in lower case with hyphens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from math import isfinite
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from orchestrator.chaos.bad_scenario import BadScenario
from orchestrator.chaos.faults import Fault, TimedFault

Built = TypeVar("Built")
PLAIN: Mapping[type, str] = {int: "an integer", str: "a string", bool: "true or false"}


def kind_of(fault: Fault) -> str:
    """A fault's name in files and reports: `FailOver` is `fail-over`."""
    return _hyphened(type(fault).__name__)


def build(built: type[Built], table: object, where: str) -> Built:
    """A dataclass from a table with its fields. Raises BadScenario; `where` begins its message."""
    if not isinstance(table, dict):
        raise BadScenario(f"{where}: expected a table, got {table!r}")
    known = {field.name: field for field in fields(built)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise BadScenario(f"{where}: {key}: unknown; known are {', '.join(known)}")
    for key, field in known.items():
        if key not in table and field.default is MISSING:
            raise BadScenario(f"{where}: {key}: missing")
    hints = get_type_hints(built)
    return built(**{k: _convert(hints[k], value, f"{where}: {k}") for k, value in table.items()})


def _hyphened(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


FAULTS: Mapping[str, Any] = {_hyphened(kind.__name__): kind for kind in get_args(Fault)}


def _convert(hint: Any, value: object, where: str) -> Any:
    """The value as its field's type has it."""
    if get_origin(hint) is UnionType:  # with None, which is said by saying nothing
        return _convert(get_args(hint)[0], value, where)
    if get_origin(hint) is tuple:
        return tuple(_members(get_args(hint), value, where))
    if hint is TimedFault:
        return _timed_fault(value, where)
    if hint is float:
        number = float(_plain((int, float), "a number", value, where))
        if not isfinite(number):  # TOML has inf and nan
            raise BadScenario(f"{where}: must be finite")
        return number
    if hint in PLAIN:
        return _plain((hint,), PLAIN[hint], value, where)
    return build(hint, value, where)


def _plain(types: tuple[type, ...], named: str, value: object, where: str) -> Any:
    if type(value) not in types:
        raise BadScenario(f"{where}: expected {named}, got {value!r}")
    return value


def _members(hints: tuple[Any, ...], value: object, where: str) -> Iterator[Any]:
    if not isinstance(value, list):
        raise BadScenario(f"{where}: expected a list, got {value!r}")
    is_endless = hints[-1] is Ellipsis
    if not is_endless and len(value) != len(hints):
        raise BadScenario(f"{where}: expected {len(hints)} values, got {len(value)}")
    for number, member in enumerate(value):
        yield _convert(hints[0 if is_endless else number], member, f"{where}[{number}]")


def _timed_fault(value: object, where: str) -> TimedFault:
    if not isinstance(value, dict):
        raise BadScenario(f"{where}: expected a table, got {value!r}")
    table = dict(value)
    kind, at_s = table.pop("kind", None), table.pop("at_s", None)
    if kind not in FAULTS:
        raise BadScenario(f"{where}: kind: {kind!r} is none of {', '.join(FAULTS)}")
    fault: Fault = build(FAULTS[kind], table, f"{where} ({kind})")
    return TimedFault(_convert(float, at_s, f"{where}: at_s"), fault)
