"""`blockyard bench route` and `bench gateway` measure what they say, against real processes.

Figures are not judged: a busy machine has others. What is: that each part was
really done (all prompts placed, all tokens streamed), and that the parts add up.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.live.commands.bench import bench

pytestmark = pytest.mark.redis


def test_routing_is_measured_by_part_against_a_real_server(tmp_path: Path) -> None:
    out = tmp_path / "route.json"
    result = CliRunner().invoke(bench, ["route", "--quick", "--json", str(out)])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(out.read_text())["rows"]
    assert row["blocks"] == 20_000
    parts = row["hash_cpu_us"] + row["lookup_cpu_us"] + row["decide_cpu_us"]
    assert row["cpu_us"] == pytest.approx(parts)
    assert row["server_cpu_us"] > 0
    # A third of the prompts is held to its end, a third shares 24 of 39 blocks, a third is new.
    assert row["hit_share"] == pytest.approx((1 + 24 / 39 + 0) / 3, abs=0.02)
    assert "Valkey" in result.output


@pytest.mark.model
def test_a_gateway_is_measured_beside_a_bare_server(tmp_path: Path) -> None:
    out = tmp_path / "gateway.json"
    result = CliRunner().invoke(bench, ["gateway", "--quick", "--json", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert report["prompt_tokens"] == pytest.approx(640, rel=0.05)
    assert report["known_cpu_us"] > 0 and report["new_cpu_us"] > 0
    assert report["alone_ms"] > report["alone_bare_ms"] > 0
    assert "a streamed token" in result.output


def test_a_model_without_words_is_refused() -> None:
    result = CliRunner().invoke(bench, ["gateway", "--quick", "--model", "tiny"])
    assert result.exit_code == 1
    assert "tiny has no words in its vocabulary" in result.output
