"""A run over a tiny model has every figure, and each measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from orchestrator.live.bench.detokenizing import detokenize_ns
from orchestrator.live.commands.bench import bench
from orchestrator.sim.cost_model_file import load_cost_model
from protos.messages import Request
from replicas.bench.cascade import Sharing
from replicas.bench.engine_bench import Extent, measure_engine, request_of, unique_prompts
from replicas.bench.machine import measure_rates
from replicas.bench.stopwatch import STEP_TOKENS_MAX, Stopwatch
from replicas.model.loading import LoadedModel, load_model
from replicas.model.source import ModelSource
from tests.unit.model.checkpoints import random_tensors, write_folder

SHORT = Extent(20, {1: 2, 3: 2}, 32, 5, Sharing(4, 32, 40))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = write_folder(tmp_path_factory.mktemp("small"), random_tensors())
    return load_model(ModelSource("small", folder), device="cpu", dtype="float32")


def test_a_report_has_every_batch_and_the_prefix_pair(model: LoadedModel) -> None:
    said: list[str] = []
    report = measure_engine(model, SHORT, said.append)
    assert [row.batch for row in report.batches] == [1, 3]
    for row in report.batches:
        assert row.prefill_tokens_per_s > 0
        assert row.decode_tokens_per_s == pytest.approx(row.batch * 1e3 / row.step_ms)
        assert row.ratio == pytest.approx(row.step_ms / row.floor_ms)
        assert 0 < row.host_share < 1
        assert row.resident_mib > 0
    assert report.prefix.prompt_tokens == 37
    assert report.prefix.hit_tokens == 32
    assert report.conditions.dtype == "float32"
    assert report.cascade.shared_ms > 0
    assert len(said) == 5


def test_steps_are_told_apart_and_all_of_them_are_timed(model: LoadedModel) -> None:
    stopwatch = Stopwatch(model, blocks_total=16, block_size=4, sequences_max=4)
    prompts = unique_prompts(model.config.vocab_size, count=2, tokens=9, seed=1)
    requests: list[Request] = [request_of(str(n), p, tokens=4) for n, p in enumerate(prompts)]
    steps = stopwatch.run(requests)
    assert [step.is_decode for step in steps] == [False, True, True, True]
    assert all(0 <= step.forward_ns <= step.total_ns for step in steps)
    assert [stretch.cached for stretch in steps[1].stretches()] == [9, 9]


def test_rates_are_measured_for_any_type() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        rates = measure_rates(dtype)
        assert rates.read_bytes_per_s > 0
        assert rates.flop_per_s > 0


def test_the_command_prints_a_table_and_writes_what_the_simulator_takes(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    threads = torch.get_num_threads()
    try:
        result = CliRunner().invoke(
            bench, ["engine", "--model", "tiny", "--quick", "--json", str(out)]
        )
    finally:
        torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    assert "decode tok/s" in result.output
    report = json.loads(out.read_text())
    assert [row["batch"] for row in report["batches"]] == [1, 8, 32]
    assert report["conditions"]["torch"] == torch.__version__
    assert 0 < report["detokenize_ns"] < 1_000_000
    for said in (
        "prefill tok/s",
        "step ms",
        "floor ms",
        "host",
        "RSS",
        "prefix hit",
        "attention of",
    ):
        assert said in result.output
    assert f"detokenising, at the gateway: {report['detokenize_ns'] / 1e3:.2f} us" in result.output
    model = load_cost_model(str(out))
    assert model.step_tokens_max == STEP_TOKENS_MAX
    assert model.prefill_token_ns > 1


def test_a_model_without_words_costs_no_text(tmp_path: Path) -> None:
    assert detokenize_ns(write_folder(tmp_path, random_tensors())) is None


def test_an_unknown_model_is_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench, ["engine", "--model", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "There is no model" in result.output
