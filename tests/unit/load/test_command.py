"""What the command refuses before it asks anybody for anything."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from orchestrator.load.command import command, secret_of
from orchestrator.workload.drawing import CannotPlot, require_matplotlib


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--speed=2"], "--speed is for traces"),
        (["--workload=a.jsonl", "--rate=2"], "--rate is for named workloads"),
        (["--prompts=tokens", "--api=chat"], "a chat has no token ids"),
        (["--spike=60"], "such as 60:10x:30"),
        (["--spike=1:2x:5", "--spike=3:2x"], "overlap"),
        (["--spike=5:2x", "--spike=60:10x", "--seconds=60"], "spike at 60 s begins when"),
        (["--key=sk-123"], "--key env:NAME"),
        (["--workload=no-such-file.jsonl"], "no-such-file.jsonl"),
        (["--rate", "nan"], "is not a number in the range"),
        (["--seconds", "inf"], "is not in the range"),
        (["--rate", "1e5", "--seconds", "6e5"], "that would be 6e+10 requests; 1,000,000 at most"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(command, ["--url=http://127.0.0.1:9", *words])
    assert result.exit_code in (1, 2)
    assert sentence in result.output


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert secret_of(None) == ""
    monkeypatch.setenv("OPENAI_API_KEY", "one")
    monkeypatch.setenv("ANOTHER", "two")
    assert secret_of(None) == "one"
    assert secret_of("env:ANOTHER") == "two"


def test_what_it_takes_to_draw_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("orchestrator.workload.drawing.import_module", nothing)
    with pytest.raises(CannotPlot, match="pip install matplotlib"):
        require_matplotlib()
