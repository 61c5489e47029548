"""The documents speak of files that exist, and of nothing but the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.style.test_layers import ROOT

DOCUMENTS = sorted(ROOT.glob("*.md"))
PATH = re.compile(r"`((?:orchestrator|replicas|protos|deploy|tests)/[\w./-]*)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_paths_in_a_document_exist(document: Path) -> None:
    named = PATH.findall(document.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_words_of_the_makefile_are_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    words = set(re.findall(r"^(\w+):.*## ", makefile, re.MULTILINE)) - {"help"}
    readme = (ROOT / "README.md").read_text()
    assert {word for word in words if f"make {word}" not in readme} == set()
