"""Single steps on any device next to their floors: decodes with and without a shared prefix,
and the prefill of a prompt.

A step is what the runner does with a plan: layout, forward pass, sampling, and
the wait for the tokens. Scheduling is not in it (engine_bench.py has that).
What the pool holds is random, so no prompt has to be computed first. The
floor of a shared step reads the shared tokens once.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from protos.messages import SamplingParams
from replicas.bench.cascade import BLOCK_SIZE, Sharing, rows_of
from replicas.bench.floor import Stretch, step_work
from replicas.bench.machine import Rates, device_rates
from replicas.engine.plan import BlockId, Row, Sample, StepPlan
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner

GREEDY = Sample(SamplingParams(tokens_max=2, temperature=0.0), 0, (0,), ())
WARM_UPS = 3  # kernels are compiled in the first


@dataclass(frozen=True, slots=True)
class Steps:
    """What to measure."""

    batches: tuple[int, ...]
    context_tokens: int
    shared_tokens: int
    prefill_tokens: int
    repeats: int


STEPS = Steps((1, 32, 256), context_tokens=700, shared_tokens=592, prefill_tokens=600, repeats=20)
QUICK_STEPS = Steps((1, 8), context_tokens=350, shared_tokens=300, prefill_tokens=100, repeats=3)


@dataclass(frozen=True, slots=True)
class StepFigures:
    """The median of the repeats; the ratio is to the floor."""

    name: str
    rows: int
    step_ms: float
    floor_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class StepReport:
    """Everything that was measured, and on what."""

    model: str
    dtype: str
    kernels: str
    device: str
    torch: str
    rates: Rates
    steps: tuple[StepFigures, ...]


def measure_steps(model: LoadedModel, extent: Steps) -> StepReport:
    """Measure all of them on the model's device, over one pool."""
    rates = device_rates(model.device, model.dtype)
    blocks = -(-max(extent.context_tokens, extent.prefill_tokens) // BLOCK_SIZE)
    runner = TorchRunner(model, blocks_total=blocks * max(extent.batches), block_size=BLOCK_SIZE)
    runner.cache.pool.normal_()
    steps = []
    for batch in extent.batches:
        sharing = Sharing(batch, extent.shared_tokens, extent.context_tokens)
        for shares in (False, True) if batch > 1 else (False,):
            rows = [_sampled(row) for row in rows_of(sharing, shares=shares)]
            shared = extent.shared_tokens // BLOCK_SIZE * BLOCK_SIZE if shares else 0
            name = f"decode, {shared} tokens shared" if shares else "decode"
            steps.append(_measure(model, runner, rates, extent, name, rows, shared))
    table = tuple(BlockId(n) for n in range(blocks))
    prompt = Row((0,) * extent.prefill_tokens, 0, table, (GREEDY,))
    name = f"prefill of {extent.prefill_tokens}"
    steps.append(_measure(model, runner, rates, extent, name, [prompt], 0))
    return StepReport(
        model=model.name,
        dtype=str(model.dtype).removeprefix("torch."),
        kernels=model.kernels.name,
        device=_device_name(model.device),
        torch=torch.__version__,
        rates=rates,
        steps=tuple(steps),
    )


def _sampled(row: Row) -> Row:
    return Row(row.tokens, row.start, row.block_table, (GREEDY,))


def _measure(
    model: LoadedModel,
    runner: TorchRunner,
    rates: Rates,
    extent: Steps,
    name: str,
    rows: list[Row],
    shared: int,
) -> StepFigures:
    plan = StepPlan((), tuple(rows))
    times_ns = []
    for _ in range(WARM_UPS + extent.repeats):
        began_ns = time.perf_counter_ns()
        runner.run(plan)  # ends with the tokens on the host, so the device has finished
        times_ns.append(time.perf_counter_ns() - began_ns)
    step_ns = statistics.median(times_ns[WARM_UPS:])
    stretches = [Stretch(len(row.tokens), row.start, sampled=True) for row in rows]
    work = step_work(model.config, stretches, element_bytes=model.dtype.itemsize, shared=shared)
    floor_ns = work.floor_ns(rates)
    return StepFigures(name, len(rows), step_ns / 1e6, floor_ns / 1e6, step_ns / floor_ns)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
