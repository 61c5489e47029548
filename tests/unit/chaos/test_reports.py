"""What is written about runs: plain JSON, a page that escapes everything, a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.chaos import command
from orchestrator.chaos.again import Again
from orchestrator.chaos.console import show_sum, show_table
from orchestrator.chaos.gathering import WHOLE_MAX, Gathering
from orchestrator.chaos.page import page
from orchestrator.chaos.run import Run, Skipped
from orchestrator.chaos.table import COLUMNS, cells
from orchestrator.chaos.verdict import judge
from orchestrator.chaos.worlds import Cluster, Local, Simulated, Target
from orchestrator.exit_status import INTERRUPTED
from tests.unit.chaos.made_up import SCENARIO, observed, refused, struck
from tests.unit.chaos.test_verdict import as_due

NASTY = "<script>alert('&')</script>"


def run_of(seed: int = 0, leaks: tuple[str, ...] = (), code: str = "queue_full") -> Run:
    records = as_due(SCENARIO, seed)
    records[0] = refused(0, records[0].due_s, code=code)
    world = observed(records, leaks=leaks, struck=(struck(4.0, 5.0),))
    return Run(SCENARIO, seed, world, judge(SCENARIO, seed, world))


def gathered(*runs: Run | Skipped) -> Gathering:
    gathering = Gathering(has_aims=True)
    for run in runs:
        gathering.add(run)
    return gathering


class Tags(HTMLParser):
    """All that a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_page_needs_nothing_else_and_escapes_what_servers_said() -> None:
    gathering = gathered(run_of(leaks=(NASTY,), code=NASTY))
    text = page(gathering.results, gathering.shown, "blockyard chaos run x")
    tags = Tags()
    tags.feed(text)
    assert tags.found.isdisjoint({"script", "link", "img", "iframe"})
    assert tags.links == []
    assert "&lt;script&gt;" in text


def test_a_page_shows_a_dot_for_each_request_and_a_band_for_each_fault() -> None:
    gathering = gathered(run_of())
    text = page(gathering.results, gathering.shown, "again")
    assert text.count("<circle") == len(as_due(SCENARIO, 0))
    assert len(re.findall(r'<rect class="band"', text)) == 1
    assert "refused" in text and "FAILED" not in text


def test_the_same_runs_are_written_as_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        gathering = gathered(run_of(), run_of(1, leaks=("a block",)))
        gathering.write_json(tmp_path / f"{name}.json")
        gathering.write_page(tmp_path / f"{name}.html", "again")
    for suffix in ("json", "html"):
        one, two = (tmp_path / f"{name}.{suffix}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_the_record_has_figures_and_requests(tmp_path: Path) -> None:
    gathered(run_of()).write_json(tmp_path / "out.json")
    record = json.loads((tmp_path / "out.json").read_text())
    (result,) = record["results"]
    assert (record["runs"], record["passed"], result["passed"]) == (1, 1, True)
    assert result["ends"]["refused"] == 1
    assert result["faults"][0]["kind"] == "kill"
    assert result["heard"][0]["code"] == "queue_full"
    assert {group["phase"] for group in result["phases"]} == {"before", "during", "after"}


def test_a_failure_is_kept_with_all_that_its_replay_needs(tmp_path: Path) -> None:
    gathering = gathered(run_of(), run_of(3, leaks=("a block",)))
    (path,) = gathering.keep_failures(
        tmp_path, Again(Local("tiny", Path("logs")), 5.0, {}), {"logs": "there"}
    )
    kept = json.loads(path.read_text())
    assert path.name == "chaos-made-up-3.json"
    assert kept["breaches"] == ["leak: a block"]
    assert kept["logs"] == "there"
    line = "blockyard chaos run made-up --local --model tiny --seed 3 --duration 5"
    assert (kept["replay"], kept["world"]) == (line, "--local --model tiny")
    assert (kept["model"], kept["duration_s"]) == ("tiny", 5.0)
    assert len(kept["due"]) == len(kept["heard"]) == len(kept["expected"])
    assert kept["played"]["name"] == "made-up"


def test_of_many_runs_only_failures_are_kept_whole() -> None:
    runs = [run_of(seed) for seed in range(WHOLE_MAX + 5)]
    late_failure = run_of(99, leaks=("a block",))
    gathering = gathered(*runs, late_failure)
    assert len(gathering.results) == len(runs) + 1
    assert len(gathering.shown) == WHOLE_MAX + 1
    assert gathering.shown[-1] is late_failure


def test_what_a_world_cannot_do_is_shown_and_no_failure() -> None:
    gathering = gathered(Skipped(SCENARIO, 0, "no such clock"))
    assert gathering.failures == []
    assert cells(gathering.results)[-1] == "skipped: no such clock"


def test_what_was_skipped_is_counted_beside_what_was_played(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gathering = gathered(run_of(), Skipped(SCENARIO, 1, "no such clock"))
    assert cells(gathering.results)[-1] == "passed, 1 skipped"
    show_sum(gathering, 1.0)
    assert capsys.readouterr().out.startswith("1 runs, 1 skipped, ")


def test_the_table_tells_how_long_faults_were_felt_and_what_was_not_compared() -> None:
    run = run_of()
    few = replace(run.observed, expected={}, is_repeatable=False)
    unknown = Run(run.scenario, run.seed, few, judge(run.scenario, run.seed, few))
    shown = dict(zip(COLUMNS, cells(gathered(unknown).results), strict=True))
    assert shown["recovery / silence s"] == "0.00/0.02"
    answered, refused, left = shown["answered / refused / left"].split("/")
    assert shown["not compared"] == answered != "0"
    assert (refused, left) == ("1", "0")


def test_a_table_that_is_piped_fits_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(gathered(run_of(), run_of(1, leaks=("a block",)), Skipped(SCENARIO, 2, "no " * 50)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 120
    assert any("1 of 2 FAILED" in line for line in lines)


def test_to_play_nothing_at_all_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(*_: object) -> Iterator[Skipped]:
        yield Skipped(SCENARIO, 0, "no such clock")

    monkeypatch.setattr(command, "results", skip)
    told = CliRunner().invoke(command.run, ["herd"])
    assert told.exit_code == 1
    assert "nothing was played" in told.output


def test_a_missed_aim_fails_where_time_is_simulated_only() -> None:
    run = run_of()
    expecting = replace(run.scenario, expect=replace(run.scenario.expect, silence_s=0.0))
    missing = Run(expecting, 0, run.observed, judge(expecting, 0, run.observed))
    assert [
        bool(Gathering(has_aims=has_aims).is_failure(missing)) for has_aims in (True, False)
    ] == [True, False]


@pytest.mark.parametrize(
    ("again", "line"),
    [
        (Again(Simulated(), None, {}), "blockyard chaos run x --sim --seed 4"),
        (
            Again(Local("tiny", Path("logs")), 5.0, {}),
            "blockyard chaos run x --local --model tiny --seed 4 --duration 5",
        ),
        (
            Again(Target("http://a", None, None, None), None, {"x": "my own/x.toml"}),
            "blockyard chaos run 'my own/x.toml' --target http://a --seed 4",
        ),
        (
            Again(Target("http://a", "m y", "b:1", Cluster("yard", "k", "tc:1")), None, {}),
            "blockyard chaos run x --target http://a --model 'm y' --control b:1"
            " --kubectl yard --kubectl-context k --netem-image tc:1 --seed 4",
        ),
    ],
)
def test_the_line_that_plays_it_again_names_world_and_seed(again: Again, line: str) -> None:
    assert again.line("x", 4) == line


def test_all_scenarios_of_a_run_are_quoted_one_by_one() -> None:
    again = Again(Simulated(), None, {})
    line = again.line_of_all(["herd", "my own/x.toml"], 4, seeds=2)
    assert line == "blockyard chaos run herd 'my own/x.toml' --sim --seed 4 --seeds 2"


def test_a_path_that_cannot_be_written_is_told_before_anything_is_played(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played: list[object] = []
    monkeypatch.setattr(command, "results", lambda *_: iter(played))
    told = CliRunner().invoke(command.run, ["herd", "--report", str(tmp_path)])
    assert told.exit_code == 2
    assert "herd" not in told.stdout


def test_what_was_played_before_an_interruption_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> Iterator[Run]:
        yield run_of()
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "results", interrupted)
    path = tmp_path / "out.json"
    told = CliRunner().invoke(command.run, ["herd", "--seeds", "3", "--json", str(path)])
    assert told.exit_code == INTERRUPTED
    assert "2 were not played" in told.stderr
    assert json.loads(path.read_text())["runs"] == 1


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["--sim", "--kubectl", "prod"], "--target"),
        (["--sim", "--control", "127.0.0.1:1"], "--target"),
        (["--local", "--tls-ca", "."], "--target"),
        (["--target", "http://127.0.0.1:1", "--netem-image", "tools"], "--kubectl"),
        (["--sim", "--model", "tiny"], "--local and --target"),
        (["--sim", "--duration", "nan"], "is not a number in the range"),
        (["--sim", "--duration", "inf"], "is not in the range"),
        (["--sim", "--duration", "1e-9"], "is not in the range"),
    ],
)
def test_options_that_would_do_nothing_are_refused(words: list[str], where: str) -> None:
    told = CliRunner().invoke(command.run, ["herd", *words])
    assert told.exit_code == 2
    assert where in told.stderr
