"""The shape of the code: functions and files stay short, modules say what they are."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.style.test_layers import ROOT, sources

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 450
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{f.lineno} {f.name}: {f.end_lineno - f.lineno + 1} lines"
        for path in sources(ROOT)
        for f in functions(path)
        if f.end_lineno is not None and f.end_lineno - f.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == [], "pull pure leaves out and keep the branching in the parent"


def test_no_file_is_longer_than_a_sitting() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources(ROOT)}
    assert {name: n for name, n in lengths.items() if n > FILE_LINES_MAX} == {}


def test_every_module_opens_with_what_it_is() -> None:
    silent = [str(p) for p in sources(ROOT) if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(p) for p in sources(ROOT) if p.stem in VAGUE_NAMES] == []
