"""A cost model from what `blockyard bench engine --json` measured on some machine.

A step's cost is a sum of terms (cost_model.py), and the benchmark measured
whole steps, so the terms are fitted:

- Decode steps of several batches lie on a line: where it begins is what every
  step costs, its slope what a sequence adds. Of that, the KV's part is its
  bytes at the rate at which the machine reads; the rest is the sequence's own.
- Prefills, less what their steps cost anyway, are proportional to their tokens.

How attention grows with the position is too little at the lengths measured to
be seen in their noise: there the built-in model's figure stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.sim.cost_model import CostModel

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


def is_measured(values: Mapping[str, Any]) -> bool:
    """Whether this is a benchmark's report, and no cost model."""
    return "batches" in values


def calibrated(report: Mapping[str, Any]) -> CostModel:
    """The model that fits the report best. Raises KeyError, TypeError or ValueError for others."""
    batches: Sequence[Mapping[str, Any]] = report["batches"]
    sizes = [float(row["batch"]) for row in batches]
    steps_ns = [float(row["step_ms"]) * NS_PER_MS for row in batches]
    step_ns, sequence_ns = line(sizes, steps_ns)
    reads_per_s = float(report["rates"]["read_bytes_per_s"])
    kv_token_ns = float(report["kv_bytes_per_token"]) * NS_PER_S / reads_per_s
    context_tokens = float(batches[0]["prompt_tokens"])
    tokens_max = int(report["step_tokens_max"])
    return CostModel(
        step_ns=positive(step_ns),
        prefill_token_ns=positive(prefill_token_ns(batches, step_ns, tokens_max)),
        decode_sequence_ns=positive(sequence_ns - kv_token_ns * context_tokens),
        kv_token_ns=positive(kv_token_ns),
        step_tokens_max=tokens_max,
    )


def prefill_token_ns(
    batches: Sequence[Mapping[str, Any]], step_ns: float, tokens_max: int
) -> float:
    """What a prompt token adds to a step, by least squares through the origin."""
    doubles_at = CostModel().prefill_doubles_at
    products = squares = 0.0
    for row in batches:
        prompt = int(row["prompt_tokens"])
        tokens = int(row["batch"]) * prompt
        took_ns = tokens * NS_PER_S / float(row["prefill_tokens_per_s"])
        weight = tokens * (1 + (prompt - 1) / 2 / doubles_at)
        products += weight * (took_ns - -(-tokens // tokens_max) * step_ns)
        squares += weight * weight
    return products / squares


def line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of the line that fits best, neither of them below zero."""
    if len(set(xs)) < 2:
        raise ValueError("decode steps of at least two batch sizes are needed")
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = max(0.0, sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread)
    return max(0.0, y_mean - slope * x_mean), slope


def positive(ns: float) -> int:
    """In whole nanoseconds, at least one: nothing is free."""
    return max(1, round(ns))
