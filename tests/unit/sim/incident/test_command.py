"""`incident` as a person meets it, and its picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.sim.incident.command import command
from orchestrator.sim.incident.incident import Case, simulated_incident
from orchestrator.sim.incident.picture import draw_incident
from orchestrator.sim.incident.workload import Load


def test_without_matplotlib_it_says_what_to_install_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(command, ["--plot", str(tmp_path / "out.png")])
    assert result.exit_code == 1
    assert "pip install matplotlib" in result.output


def test_it_draws_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = simulated_incident(0, Case(Load(steady_s=4.0, spike_s=3.0, after_s=1.0)))
    draw_incident(result, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
