"""A Ray that gives up is a sentence, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import ray

from orchestrator.live.local import LocalCluster, LocalOptions, StartFailed
from orchestrator.live.local_ray import RayNotStarted, local_ray
from tests.ports import free_ports


@pytest.fixture(autouse=True)
def gives_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def init(**_: object) -> NoReturn:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_it_says_why_and_its_folder_is_gone(tmp_path: Path) -> None:
    with (
        pytest.raises(RayNotStarted, match="timed out during startup"),
        local_ray(application="any", places=1, shows_logs=False),
    ):
        pytest.fail("it has not started")
    assert list(tmp_path.iterdir()) == []


def test_whoever_starts_the_system_hears_it(tmp_path: Path) -> None:
    http, grpc, control = free_ports(3)
    options = LocalOptions(model="tiny", http_port=http, grpc_port=grpc, control_port=control)
    with pytest.raises(StartFailed, match="Ray did not start"), LocalCluster(options, print):
        pytest.fail("it has not started")
    assert list(tmp_path.iterdir()) == []
