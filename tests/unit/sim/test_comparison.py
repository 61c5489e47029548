"""`compare`: what is run, what is left out and said to be, and the table that comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.sim.comparison.cases import CONTENDERS, ON_TRACES, Contender, cases_in
from orchestrator.sim.comparison.command import command
from orchestrator.sim.comparison.runs import Row
from orchestrator.sim.comparison.table import markdown
from orchestrator.sim.policies import POLICIES

SMALL = ("--requests", "12", "--workers", "1", "--policy", "blockyard", "--policy", "random")
TTFT = {"p50": 0.22, "p90": 1, "p99": 2.5, "mean": 0.6}
ROW = Row(Contender("ours", "ours"), 0.341, TTFT, 3, 1, 5719)


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*SMALL, *arguments], catch_exceptions=False)


def test_every_policy_has_a_row_and_ours_has_one_without_copies() -> None:
    assert {contender.policy for contender in CONTENDERS} == set(POLICIES)
    assert [each.name for each in CONTENDERS if not each.copying] == ["blockyard, no copies"]
    assert len({contender.name for contender in CONTENDERS}) == len(CONTENDERS)


def test_a_row_of_the_table() -> None:
    table = markdown(ON_TRACES[0], [ROW])
    title = "mooncake_conv_w0, 2 times as fast, 8 replicas of 4,000 blocks, 5,719 requests"
    assert table.startswith(f"**{title}**")
    assert table.endswith("| ours | 34.1% | 0.22 | 1.00 | 2.50 | 0.60 | 3 | 1.00 |")


def test_traces_that_are_not_there_are_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "incident_mix_w0.jsonl.xz").touch()
    cases, missing = cases_in(tmp_path)
    assert {case.workload for case in cases} == {"incident_mix_w0"}
    assert missing == ["claude_code_s0", "mooncake_conv_w0"]


def test_a_folder_without_any_of_the_traces_is_refused_with_a_sentence(tmp_path: Path) -> None:
    result = compare("--traces", str(tmp_path))
    assert result.exit_code == 1
    assert f"{tmp_path} has no claude_code_s0.jsonl.xz: left out" in result.output
    assert "nothing is left to compare" in result.output


def test_without_traces_it_compares_on_workloads_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = compare("--json", str(out), "--seeds", "2", "--only", "synthetic:mix")
    assert result.exit_code == 0, result.output
    table = [line for line in result.output.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in table] == ["| policy", "| blockyard", "| random"]
    runs = json.loads(out.read_text())
    assert [(run["contender"], run["seed"]) for run in runs] == [
        *(("blockyard", 0), ("blockyard", 1)),
        *(("random", 0), ("random", 1)),
    ]
    assert all(run["completed"] == 12 and "wall_s" not in run for run in runs)


def test_it_draws_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "out.png"
    assert compare("--plot", str(plot), "--only", "synthetic:mix").exit_code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_title_that_no_case_has_is_answered_with_those_there_are() -> None:
    result = compare("--only", "nosuch")
    assert result.exit_code == 1
    for case in cases_in(None)[0]:
        assert case.title in result.output


def test_its_help_names_the_traces_it_looks_for() -> None:
    words = "".join(compare("--help").output.split())
    assert all(f"{case.workload}.jsonl.xz" in words for case in ON_TRACES)


def test_a_picture_of_no_known_kind_is_refused_before_the_run() -> None:
    result = compare("--plot", "out.nosuch")
    assert result.exit_code == 2
    assert "must end in one of" in result.output
