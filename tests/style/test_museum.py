"""The museum's table names tests that exist: a test that is renamed takes its row along."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.style.test_layers import ROOT

CASES = range(1, 21)
ROW = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(\w+)`")
TABLE = (ROOT / "tests/museum/README.md").read_text()


def proofs(table: str) -> dict[int, list[tuple[str, str]]]:
    """File and test of each case; a test named without its file is in the one named before."""
    found: dict[int, list[tuple[str, str]]] = {}
    for number, cell in ROW.findall(table):
        path = ""
        for file, test in NAMED.findall(cell):
            path = file or path
            found.setdefault(int(number), []).append((path, test))
    return found


def defined_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = (n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return {f.name for f in functions if f.name.startswith("test_")}


def missing(table: str) -> list[str]:
    return [
        f"{number}: {path}::{test}"
        for number, named in proofs(table).items()
        for path, test in named
        if not (ROOT / path).is_file() or test not in defined_in(ROOT / path)
    ]


def test_every_case_of_the_museum_is_proved_somewhere() -> None:
    assert sorted(proofs(TABLE)) == list(CASES)


def test_every_test_that_the_museum_names_exists() -> None:
    assert missing(TABLE) == []


@pytest.mark.parametrize(
    "cell",
    [
        "`tests/museum/test_museum.py::test_of_nothing`",
        "`tests/museum/nowhere.py::test_of_nothing`",
        "`tests/style/test_museum.py::test_every_test_that_the_museum_names_exists` and `::other`",
    ],
)
def test_a_name_that_is_nowhere_is_found(cell: str) -> None:
    assert len(missing(f"| 1 | What happened. | {cell} |")) == 1
