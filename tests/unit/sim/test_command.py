"""`simulate` as a person meets it: its words, its files, what it needs to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.sim.command import command
from orchestrator.sim.progress import Progress

# A few requests that share a prefix, close together.
CSV = "arrival_ms,input_tokens,output_tokens\n" + "".join(
    f"{40 * number},{100 + 37 * number},{5 + number}\n" for number in range(30)
)
KEYS = {
    *("requests", "completed", "refused", "hit_blocks_ratio", "ttft_s", "tpot_s", "imbalance"),
    *("recomputed_tokens", "copied_blocks", "preemptions", "events_per_s", "wall_s", "trace_hash"),
}
IMPORTS = """
import sys
from click.testing import CliRunner
from orchestrator.sim.command import command
result = CliRunner().invoke(command, ["--trace", sys.argv[1]], catch_exceptions=False)
assert result.exit_code == 0, result.output
print([name for name in ("ray", "torch", "redis", "grpc") if name in sys.modules])
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    return path


def run_python(code: str, *arguments: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_it_reports_in_words_and_in_json(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = CliRunner().invoke(command, ["--trace", str(trace), "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "30 of 30 requests completed" in result.output
    figures = json.loads(out.read_text())
    assert figures["completed"] == 30
    assert figures.keys() >= KEYS
    assert figures["ttft_s"].keys() == {"p50", "p90", "p99", "mean"}
    assert figures["tpot_s"].keys() == {"p50", "p99"}


def test_several_gateways_with_old_reports_and_no_copies_serve_everybody(
    trace: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    many = ["--gateways", "4", "--stale-ms", "10000", "--no-copies", "--json", str(out)]
    result = CliRunner().invoke(command, ["--trace", str(trace), *many])
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert (figures["completed"], figures["copied_blocks"]) == (30, 0)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_only_a_terminal_is_shown_how_far_a_run_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with Progress("requests ended", 3) as progress:
        progress.step()
        assert capsys.readouterr().err.endswith("requests ended: 1 of 3, 0 s") is is_terminal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace", "synthetic:nothing"], "choose one of chat, agents"),
        (["--trace", "nowhere.jsonl.xz"], "nowhere.jsonl.xz"),
        (["--trace", "synthetic:chat", "--cost-model", "nowhere.json"], "nowhere.json"),
        (["--trace", "synthetic:chat", "--policy", "magic"], "'magic' is not one of"),
        (["--trace", "synthetic:chat", "--json", "nowhere/out.json"], "no folder nowhere"),
        (["--trace", "synthetic:chat", "--plot", "out.nosuch"], "must end in one of"),
        *(
            (["--trace", "synthetic:chat", option, value], "is not in the range")
            for option, value in (
                *(("--stale-ms", "inf"), ("--stale-ms", "1e300")),
                *(("--speed", "1e-300"), ("--speed", "inf"), ("--copy-gbps", "inf")),
                *(("--replicas", "1025"), ("--gateways", "65")),
            )
        ),
        *(
            (["--trace", "synthetic:chat", option, "nan"], "nan is not a number in the range")
            for option in ("--stale-ms", "--speed", "--copy-gbps")
        ),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


def test_without_matplotlib_it_says_what_to_install(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = str(tmp_path / "out.png")
    result = CliRunner().invoke(command, ["--trace", str(trace), "--plot", plot])
    assert result.exit_code == 1
    assert "pip install matplotlib" in result.output


def test_it_needs_neither_ray_nor_torch_nor_redis_nor_grpc(trace: Path) -> None:
    assert run_python(IMPORTS, str(trace)).strip() == "[]"


def test_one_seed_makes_one_trace_whatever_python_hashes_strings_to(
    trace: Path, tmp_path: Path
) -> None:
    code = "from orchestrator.sim.command import command; command()"
    reports = []
    for hash_seed in ("1", "2"):
        out = tmp_path / f"{hash_seed}.json"
        arguments = ("--trace", str(trace), "--gateways", "2", "--json", str(out))
        run_python(code, *arguments, PYTHONHASHSEED=hash_seed)
        figures = json.loads(out.read_text())
        for measured in ("wall_s", "events_per_s"):
            del figures[measured]
        reports.append(json.dumps(figures))
    assert reports[0] == reports[1]


def test_it_draws_a_picture(trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "out.png"
    result = CliRunner().invoke(command, ["--trace", str(trace), "--plot", str(plot)])
    assert result.exit_code == 0, result.output
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_its_help_names_the_columns_of_a_csv() -> None:
    words = "".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "arrival_ms,input_tokens,output_tokens" in words


def test_the_report_and_the_summary_name_the_configuration(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["--replicas", "3", "--speed", "2", "--stale-ms", "50", "--json", str(out)]
    result = CliRunner().invoke(command, ["--trace", str(trace), *arguments])
    assert f"{trace}, speed 2, seed 0, cost model h100-8b" in result.output
    assert "replicas 3, gateways 1, blocks 4000 of 16 tokens, reports 50 ms old" in result.output
    figures = json.loads(out.read_text())
    assert figures["trace"] == str(trace)
    assert (figures["replicas"], figures["gateways"], figures["blocks"]) == (3, 1, 4000)
    assert (figures["speed"], figures["stale_ms"], figures["block_size"]) == (2, 50, 16)
    assert (figures["copies"], figures["cost_model"], figures["seed"]) == (True, "h100-8b", 0)


def test_a_full_disk_costs_the_file_and_not_the_summary(trace: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no disk that is always full")
    arguments = ["--trace", str(trace), "--json", "/dev/full"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "requests completed" in result.output
    assert "/dev/full was not written: No space left" in result.output
