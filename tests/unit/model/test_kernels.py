"""Kernels are built once, complete or not at all, and their absence is no failure."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from replicas.model.errors import UnsupportedModel
from replicas.model.kernels.choice import choose_kernels
from replicas.model.kernels.compiler import NotBuilt, built_library
from replicas.model.kernels.library import open_library
from replicas.model.kernels.native import in_panels
from replicas.model.tiny import CONFIG
from tests.unit.model.checkpoints import SMALL

CPU = torch.device("cpu")


def choose(asked: str | None = None, *, deterministic: bool = False) -> str:
    return choose_kernels(
        CONFIG, asked=asked, device=CPU, dtype=torch.float32, deterministic=deterministic
    ).name


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))


def compiler_that(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_torch_computes_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose().startswith("torch")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "compiler" in caplog.text


def test_torch_can_be_asked_for_by_argument_and_by_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose("torch").startswith("torch")
    monkeypatch.setenv("BLOCKYARD_KERNELS", "torch")
    assert choose().startswith("torch")
    assert not caplog.records


def test_unknown_kernels_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedModel, match="cuda"):
        choose("cuda")


def test_heads_that_do_not_fill_a_vector_are_left_to_torch() -> None:
    assert SMALL.head_dim == 4
    kernels = choose_kernels(SMALL, asked="auto", device=CPU, dtype=torch.float32)
    assert kernels.name.startswith("torch")


@pytest.mark.usefixtures("no_compiler")
def test_deterministic_ones_are_refused_where_only_torch_computes() -> None:
    for asked in (None, "torch"):
        with pytest.raises(UnsupportedModel, match="with heads of 32 on cpu"):
            choose(asked, deterministic=True)


def test_native_ones_are_deterministic_as_they_are() -> None:
    name = choose()
    if not name.startswith("native"):
        pytest.skip("there is no compiler here")
    assert choose(deterministic=True) == name
    with pytest.raises(UnsupportedModel, match=r"none for torch\.float16"):
        choose_kernels(CONFIG, asked=None, device=CPU, dtype=torch.float16, deterministic=True)


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = '[ "$1" = --version ] && exit 0; echo "cannot do it" >&2; exit 3'
    monkeypatch.setenv("CXX", str(compiler_that(tmp_path, script)))
    with pytest.raises(NotBuilt, match="status 3 and said: cannot do it"):
        built_library(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CXX", str(compiler_that(tmp_path, "exit 0")))
    with pytest.raises(NotBuilt, match="could not be kept"):
        built_library(tmp_path / "file" / "cache")


def test_a_build_is_kept_and_another_compiler_gets_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A compiler that writes its own name where it is told to: `-o` is its sixth argument."""
    paths = set()
    for version in ("one", "two", "one"):
        script = f'[ "$1" = --version ] && echo {version} && exit 0; echo {version} > "$7"'
        monkeypatch.setenv("CXX", str(compiler_that(tmp_path, script)))
        path = built_library(tmp_path / "cache")
        assert path.read_text().strip() == version
        paths.add(path)
    assert set((tmp_path / "cache").iterdir()) == paths
    assert len(paths) == 2


def test_processes_that_build_at_once_all_load_it(tmp_path: Path) -> None:
    try:
        built_library(tmp_path / "first")
    except NotBuilt as error:
        pytest.skip(str(error))
    program = (
        "from replicas.model.kernels.compiler import built_library\n"
        "from replicas.model.kernels.library import open_library\n"
        "print(open_library(built_library()).lanes)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert len(set(answers)) == 1
    assert [process.returncode for process in processes] == [0, 0]
    [kept] = (tmp_path / "blockyard" / "kernels").iterdir()
    assert open_library(kept).lanes in (8, 16)


@pytest.mark.parametrize("lanes", [8, 16])
def test_panels_hold_every_weight_where_the_kernel_looks_for_it(lanes: int) -> None:
    weight = torch.arange(40 * 3, dtype=torch.float32).view(40, 3)
    wide = in_panels(weight, lanes)
    narrow = in_panels(weight.bfloat16(), lanes)
    for output in range(40):
        panel, at = divmod(output, 2 * lanes)
        half, lane = divmod(at, lanes)
        assert torch.equal(wide[panel, :, at], weight[output])
        assert torch.equal(narrow[panel, :, 2 * lane + half], weight[output].bfloat16())
