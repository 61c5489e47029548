"""A cost model from a benchmark's report: what was measured is what it predicts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.sim.calibration import calibrated, line
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.cost_model_file import load_cost_model
from protos.messages import SamplingParams
from replicas.bench.cascade import CascadeFigures, Sharing
from replicas.bench.engine_bench import BatchFigures, PrefixFigures, Report
from replicas.bench.machine import Conditions, Rates
from replicas.engine.plan import Row, Sample, StepPlan

TRUTH = CostModel(
    step_ns=30_000_000,
    prefill_token_ns=400_000,
    decode_sequence_ns=2_000_000,
    kv_token_ns=4_000,
    step_tokens_max=256,
)
PROMPT = 512
SAMPLE = Sample(SamplingParams(tokens_max=1), 0, (), ())


def decode(batch: int) -> StepPlan:
    return StepPlan((), (Row((0,), PROMPT - 1, (), (SAMPLE,)),) * batch)


def prefills(batch: int) -> list[StepPlan]:
    """The prompts one after the other, in steps of 256 tokens."""
    halves = (Row((0,) * 256, 0, (), ()), Row((0,) * 256, 256, (), (SAMPLE,)))
    return [StepPlan((), (half,)) for half in halves * batch]


def measured(batch: int) -> BatchFigures:
    """What the benchmark would say of a machine that costs what TRUTH says."""
    step_ns = TRUTH.cost_ns(decode(batch))
    prefill_ns = sum(map(TRUTH.cost_ns, prefills(batch)))
    return BatchFigures(
        batch=batch,
        prompt_tokens=PROMPT,
        prefill_tokens_per_s=batch * PROMPT * 1e9 / prefill_ns,
        prefill_ratio=2.0,
        decode_tokens_per_s=batch * 1e9 / step_ns,
        step_ms=step_ns / 1e6,
        floor_ms=1.0,
        ratio=step_ns / 1e6,
        host_share=0.1,
        resident_mib=1,
    )


REPORT = Report(
    conditions=Conditions("a CPU", "AVX2", 1, "2.13", "a model", "float32", "native"),
    rates=Rates(read_bytes_per_s=10e9, flop_per_s=50e9),
    step_tokens_max=256,
    kv_bytes_per_token=40_000,  # 4 us at 10 GB/s
    batches=tuple(map(measured, (1, 8, 32))),
    prefix=PrefixFigures(664, 600, 300.0, 40.0),
    cascade=CascadeFigures(Sharing(32, 592, 700), 1.0, 2.0, 3.0, 4.0),
)


def test_the_truth_is_found_again() -> None:
    found = calibrated(asdict(REPORT))
    for name, value in asdict(TRUTH).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.01), name


def test_a_file_that_the_benchmark_wrote_is_a_cost_model(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(asdict(REPORT), indent=2) + "\n")
    model = load_cost_model(str(path))
    assert model.cost_ns(decode(16)) == pytest.approx(TRUTH.cost_ns(decode(16)), rel=0.01)


def test_noise_makes_no_term_free_or_negative() -> None:
    slow_first = [replace(measured(batch), step_ms=50.0 - batch) for batch in (1, 8, 32)]
    found = calibrated(asdict(replace(REPORT, batches=tuple(slow_first))))
    assert min(asdict(found).values()) >= 1


def test_one_batch_size_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least two"):
        calibrated(asdict(replace(REPORT, batches=(measured(8),))))


def test_a_line_through_points() -> None:
    assert line([1, 8, 32], [5.0, 19.0, 67.0]) == pytest.approx((3, 2))
