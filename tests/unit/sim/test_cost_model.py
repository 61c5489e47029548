"""The formula of a step's cost, term by term, and its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.cost_model_file import H100_8B, BadCostModel, load_cost_model
from protos.messages import SamplingParams
from replicas.engine.plan import (
    BlockId,
    BlockLoad,
    BlockSave,
    HostSlot,
    Row,
    Sample,
    StepPlan,
)

SAMPLE = Sample(SamplingParams(tokens_max=1), 0, (), ())
MODEL = CostModel()


def row(tokens: int, *, start: int, samples: int = 0) -> Row:
    return Row((0,) * tokens, start, (), (SAMPLE,) * samples)


def cost_ns(*rows: Row) -> int:
    return MODEL.cost_ns(StepPlan((), rows))


@pytest.mark.parametrize(
    ("rows", "expected_ns"),
    [
        # 8 ms, and 20 us + 40 ns for each of 1,000 KV tokens
        ((row(1, start=999, samples=1),), 8_000_000 + 20_000 + 40_000),
        # the first token of a prompt costs its compute alone
        ((row(1, start=0),), 8_000_000 + 50_000),
        # a token at position 60,000 costs twice as much
        ((row(1, start=60_000),), 8_000_000 + 100_000),
        # positions 0 .. 2,047 sum up to 2,096,128
        ((row(2048, start=0),), 8_000_000 + 2048 * 50_000 + 50_000 * 2_096_128 // 60_000),
        # a guess costs what a token of a prompt does: two of them at positions 60,000 and 60,001
        (
            (replace(row(3, start=59_999, samples=1), guesses=2),),
            8_000_000 + 20_000 + 40 * 60_000 + 200_000,
        ),
    ],
)
def test_the_cost_of_a_step(rows: tuple[Row, ...], expected_ns: int) -> None:
    assert cost_ns(*rows) == expected_ns


def test_rows_add_up_to_one_step() -> None:
    decode, prefill = row(1, start=99, samples=1), row(100, start=0)
    both = cost_ns(decode, prefill)
    assert both == cost_ns(decode) + cost_ns(prefill) - MODEL.step_ns


def test_each_block_moved_to_host_memory_or_back_takes_its_time() -> None:
    rows = (row(1, start=99, samples=1),)
    save, load = BlockSave(BlockId(0), HostSlot(0)), BlockLoad(HostSlot(1), BlockId(1))
    plan = StepPlan((), rows, saves=(save, save), loads=(load,))
    assert MODEL.cost_ns(plan) - cost_ns(*rows) == 3 * 42_000


def test_a_prefill_costs_the_same_in_one_chunk_or_in_two() -> None:
    whole = cost_ns(row(1200, start=0))
    halves = cost_ns(row(600, start=0)) + cost_ns(row(600, start=600)) - MODEL.step_ns
    assert abs(whole - halves) <= 1  # a nanosecond of rounding


def test_the_built_in_model_has_a_name() -> None:
    assert load_cost_model(H100_8B) == CostModel()


def test_a_file_sets_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "a100.json"
    path.write_text(json.dumps({"step_ns": 12_000_000, "kv_token_ns": 80}))
    assert load_cost_model(str(path)) == CostModel(step_ns=12_000_000, kv_token_ns=80)


@pytest.mark.parametrize(
    "text",
    [
        *("[", "[]", '{"speed": 3}', '{"step_ns": "8"}', '{"step_ns": 0}', '{"step_ns": true}'),
        *('{"batches": []}', '{"batches": [{"batch": 1, "step_ms": 2}]}'),
    ],
)
def test_a_file_that_is_no_cost_model_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(BadCostModel, match=r"bad\.json"):
        load_cost_model(str(path))


def test_a_missing_file_is_refused_by_name() -> None:
    with pytest.raises(BadCostModel, match="no-such-model"):
        load_cost_model("no-such-model")
