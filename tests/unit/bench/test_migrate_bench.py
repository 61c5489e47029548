"""A run over the tiny model moves what it says it moves, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from orchestrator.live.commands.bench import bench
from replicas.bench.migrate_end import BLOCK_SIZE


def test_the_command_prints_a_row_for_each_context_and_writes_all_figures(tmp_path: Path) -> None:
    out = tmp_path / "moves.json"
    words = ["migrate", "--model", "tiny", "--context", "128", "--context", "192"]
    result = CliRunner().invoke(bench, [*words, "--json", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert [row["context_tokens"] for row in report["moves"]] == [128, 192]
    for row in report["moves"]:
        assert row["blocks_sent"] >= row["context_tokens"] // BLOCK_SIZE
        assert row["bytes_sent"] % row["blocks_sent"] == 0
        assert 0 < row["frozen_ms"] < row["total_ms"]
        assert row["gap_ms"] > 0
        assert f" {row['context_tokens']} " in result.output
    assert report["conditions"]["model"] == "tiny"
    assert "torch" in result.output
