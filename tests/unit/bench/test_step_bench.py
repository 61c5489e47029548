"""A model of a shape alone is measured step by step, on a CPU by the code that a card will run."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from orchestrator.live.commands.bench import bench
from replicas.bench.floor import layer_weights
from replicas.bench.shapes import SHAPES, random_model
from replicas.bench.step_bench import Steps, measure_steps

CPU = torch.device("cpu")
SHORT = Steps((1, 4), context_tokens=40, shared_tokens=32, prefill_tokens=24, repeats=1)


def test_every_step_has_a_time_and_a_floor() -> None:
    model = random_model("tiny", device=CPU, dtype=torch.float32)
    report = measure_steps(model, SHORT)
    assert [(step.name, step.rows) for step in report.steps] == [
        ("decode", 1),
        ("decode", 4),
        ("decode, 32 tokens shared", 4),
        ("prefill of 24", 1),
    ]
    for step in report.steps:
        assert step.ratio == pytest.approx(step.step_ms / step.floor_ms)
    assert report.device == "cpu"
    assert "random weights" in report.model


@pytest.mark.parametrize(("shape", "billions"), [("llama3-8b", 7.50), ("qwen3-0.6b", 0.596)])
def test_shapes_have_the_weights_that_a_step_streams(shape: str, billions: float) -> None:
    """Projections and head; embeddings that are not the head are looked up, not read."""
    config = SHAPES[shape]
    weights = config.layers * layer_weights(config) + config.vocab_size * config.hidden_size
    assert weights / 1e9 == pytest.approx(billions, rel=0.005)


def test_the_command_prints_the_steps_of_a_shape() -> None:
    threads = torch.get_num_threads()
    try:
        arguments = ["engine", "--shape", "tiny", "--random-weights", "--device", "cpu", "--quick"]
        result = CliRunner().invoke(bench, arguments)
    finally:
        torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    assert "tokens shared" in result.output


def test_a_shape_without_weights_is_refused_in_words() -> None:
    result = CliRunner().invoke(bench, ["engine", "--shape", "tiny"])
    assert result.exit_code == 2
    assert "--random-weights" in result.output
