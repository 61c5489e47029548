"""What an operator types: checksums are written, a model is fetched, a store is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.__main__ import blockyard
from orchestrator.config import Deployment
from orchestrator.live.doctor.finding import Level
from orchestrator.live.doctor.machine import check_machine
from orchestrator.live.doctor.subject import Subject
from orchestrator.live.local import LocalOptions, check_model
from replicas.delivery.sums import SUMS, read_sums
from replicas.model.source import resolve_model
from tests.integration.delivery.server import ModelServer


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(blockyard, [str(word) for word in words])


def test_sums_of_a_folder_are_what_a_fetch_demands(server: ModelServer, tmp_path: Path) -> None:
    fetch = ("model", "fetch", server.url, "--cache", tmp_path / "cache", "--checksums", "required")
    refused = run(*fetch)
    assert refused.exit_code == 1
    assert "Error: http://127.0.0.1" in refused.stderr
    assert "There is no SHA256SUMS" in refused.stderr
    folder = tmp_path / "made"
    folder.mkdir()
    for name, data in server.files.items():
        (folder / name).write_bytes(data)
    assert run("model", "sums", folder).exit_code == 0
    assert read_sums((folder / SUMS).read_bytes()).keys() == server.files.keys()
    server.files[SUMS] = (folder / SUMS).read_bytes()
    fetched = run(*fetch)
    assert fetched.exit_code == 0, fetched.stderr
    path = Path(fetched.stdout.strip())
    assert (path / "model.safetensors").read_bytes() == server.files["model.safetensors"]
    assert {p.name.partition("-")[0] for p in path.parent.iterdir() if p.is_dir()} == {
        "whole",
        "tokenizer",
    }


def test_up_fetches_before_it_starts_anything(server: ModelServer, tmp_path: Path) -> None:
    source = resolve_model("tiny", cache=tmp_path / "made").path
    server.files = {path.name: path.read_bytes() for path in source.iterdir()}
    said: list[str] = []
    options = LocalOptions(model=server.url, model_cache=tmp_path / "cache")
    assert check_model(options, said.append).name == "llama"
    assert said[0] == "fetching llama: looking for its files"


@pytest.mark.parametrize("has_sums", [False, True])
def test_the_doctor_looks_and_fetches_nothing(
    server: ModelServer, tmp_path: Path, has_sums: bool
) -> None:
    if has_sums:
        server.write_sums()
    deployment = Deployment(
        model=server.url, model_cache=tmp_path / "cache", redis_url="redis://127.0.0.1:1"
    )
    (finding,) = [f for f in check_machine(Subject(deployment)) if f.check == "model"]
    assert finding.level is (Level.OK if has_sums else Level.WARNING)
    assert ("all with checksums" in finding.message) == has_sums
    assert "files of 600." in finding.message
    assert server.gets("model.safetensors") == []
    assert not (tmp_path / "cache").exists()
