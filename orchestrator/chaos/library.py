"""The scenarios that come with blockyard, and those in files of one's own.

A file has the fields of a Scenario but its name, which is the file's own. A
load may begin with `like`, the name of a kind of work in `kinds.toml`; what it
says itself overrides that. So a rate that a machine cannot bear is changed in
one place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.chaos.bad_scenario import BadScenario
from orchestrator.chaos.check_scenario import check
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.strict import build

FOLDER = Path(__file__).with_name("scenarios")
KINDS = "kinds.toml"


def names() -> tuple[str, ...]:
    """Of the scenarios that come with blockyard, in order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml") if path.name != KINDS))


def load(name: str) -> Scenario:
    """The scenario of this name. Raises BadScenario."""
    if name not in names():
        raise BadScenario(f"{name}: no such scenario; `blockyard chaos list` names them all")
    return load_file(FOLDER / f"{name}.toml")


def load_file(path: Path) -> Scenario:
    """The scenario in this file. Raises BadScenario."""
    return read(_parse(path), name=path.stem, label=path.name)


def read(table: Mapping[str, Any], *, name: str, label: str) -> Scenario:
    """The scenario that a table describes; `label` is what errors call it."""
    if "name" in table:
        raise BadScenario(f"{label}: name: a scenario has the name of its file")
    whole = {"shape": {}, **table, "name": name}
    if "loads" in table:
        whole["loads"] = _whole_loads(table["loads"], label)
    scenario = build(Scenario, whole, label)
    check(scenario, label)
    return scenario


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadScenario(f"{path.name}: {error}") from error


def _whole_loads(loads: object, label: str) -> list[dict[str, Any]]:
    """Each with what its kind says besides."""
    if not isinstance(loads, list) or not all(isinstance(one, dict) for one in loads):
        raise BadScenario(f"{label}: loads: expected [[loads]]")
    kinds = _parse(FOLDER / KINDS)
    return [_whole(dict(one), kinds, f"{label}: loads[{n}]") for n, one in enumerate(loads)]


def _whole(own: dict[str, Any], kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
    like = own.pop("like", None)
    if like is None:
        return own
    if like not in kinds:
        raise BadScenario(f"{where}: like: {like!r} is none of {', '.join(sorted(kinds))}")
    return {**kinds[like], **own}
