"""What both sides of a border need, and neither may import, is the same on both."""

from __future__ import annotations

import ast

import pytest

from tests.style.test_layers import ROOT

TWINS = {"MappedFile": ("replicas/model/gguf_file.py", "orchestrator/gateway/tokenizer_gguf.py")}


@pytest.mark.parametrize("name", TWINS)
def test_twins_are_alike(name: str) -> None:
    mine, other = (
        [
            ast.unparse(node)
            for node in ast.parse((ROOT / path).read_text()).body
            if isinstance(node, ast.ClassDef) and node.name == name
        ]
        for path in TWINS[name]
    )
    assert len(mine) == 1
    assert mine == other
