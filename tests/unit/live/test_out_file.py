"""What commands do about files that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.__main__ import blockyard

CASES = {
    "load": ["load", "--url", "http://127.0.0.1:1"],
    "incident": ["incident"],
    "bench engine": ["bench", "engine"],
    "bench route": ["bench", "route"],
    "bench gateway": ["bench", "gateway"],
    "simulate": ["simulate", "--trace", "synthetic:mix"],
    "compare": ["compare"],
}


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_a_file_in_no_folder_is_refused_before_anything_is_done(
    words: list[str], tmp_path: Path
) -> None:
    told = CliRunner().invoke(blockyard, [*words, "--json", str(tmp_path / "none" / "out.json")])
    assert told.exit_code == 2
    assert "there is no folder" in told.stderr


def test_a_disk_that_is_full_ends_a_command_with_a_sentence() -> None:
    told = CliRunner().invoke(
        blockyard, ["compare", "--requests", "1", "--policy", "random", "--json", "/dev/full"]
    )
    assert told.exit_code == 1
    assert (
        told.stderr.splitlines()[-1] == "Error: /dev/full was not written: No space left on device"
    )
