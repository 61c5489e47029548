"""The measurements of one engine: batches of 1, 8 and 32, a prefix found or not, or shared.

A batch is measured in two passes over the same unique prompts. The first asks
for one token each: all its steps are prefill. The second finds the prompts in
the prefix cache and decodes; only steps in which every sequence decodes count.
Times are those of whole steps, from scheduling to the outcome taken; text is
not part of an engine, so detokenising is not part of them.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from protos.messages import Request, RequestId, SamplingParams
from replicas.bench.cascade import CascadeFigures, Sharing, measure_cascade
from replicas.bench.floor import step_work, total_floor_ns
from replicas.bench.machine import Conditions, Rates, cpu_name, measure_rates, resident_bytes
from replicas.bench.stopwatch import STEP_TOKENS_MAX, Stopwatch, TimedStep
from replicas.model.loading import LoadedModel

Progress = Callable[[str], None]
BLOCK_SIZE = 16


@dataclass(frozen=True, slots=True)
class Extent:
    """How much to measure."""

    prompt_tokens: int
    decode_steps: dict[int, int]  # by batch
    shared_tokens: int  # leading tokens of the prefix pair
    suffix_tokens: int
    sharing: Sharing


FULL = Extent(512, {1: 24, 8: 12, 32: 8}, 600, 64, Sharing(32, 592, 700))
QUICK = Extent(128, {1: 6, 8: 4, 32: 3}, 128, 16, Sharing(8, 320, 400))


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """One batch size. Ratios are to the floor; the decode step is the median one."""

    batch: int
    prompt_tokens: int  # of each sequence, when it began to decode
    prefill_tokens_per_s: float
    prefill_ratio: float
    decode_tokens_per_s: float
    step_ms: float
    floor_ms: float
    ratio: float
    host_share: float
    resident_mib: int


@dataclass(frozen=True, slots=True)
class PrefixFigures:
    """Time to the first token of a prompt alone, unknown and with its beginning in the cache."""

    prompt_tokens: int
    hit_tokens: int
    cold_ttft_ms: float
    hit_ttft_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run measured, and under which conditions."""

    conditions: Conditions
    rates: Rates
    step_tokens_max: int  # prompts were computed in steps of so many tokens
    kv_bytes_per_token: int
    batches: tuple[BatchFigures, ...]
    prefix: PrefixFigures
    cascade: CascadeFigures


def measure_engine(model: LoadedModel, extent: Extent, progress: Progress) -> Report:
    """Measure all; minutes for a real model on one core."""
    progress("measuring how fast this machine reads and multiplies")
    rates = measure_rates(model.dtype)
    batches = []
    for batch, steps in extent.decode_steps.items():
        progress(f"batch {batch}: prefill of {extent.prompt_tokens} tokens each, {steps} decodes")
        batches.append(_measure_batch(model, extent, rates, batch))
    progress(f"time to first token with and without {extent.shared_tokens} tokens in the cache")
    prefix = _measure_prefix(model, extent)
    progress(f"attention of {extent.sharing} with and without sharing")
    return Report(
        conditions=_conditions(model),
        rates=rates,
        step_tokens_max=STEP_TOKENS_MAX,
        kv_bytes_per_token=_kv_bytes_per_token(model),
        batches=tuple(batches),
        prefix=prefix,
        cascade=measure_cascade(model, extent.sharing),
    )


def unique_prompts(vocab_size: int, *, count: int, tokens: int, seed: int) -> list[tuple[int, ...]]:
    """Random token ids: no two prompts share a block."""
    rng = random.Random(seed)
    return [tuple(rng.randrange(vocab_size) for _ in range(tokens)) for _ in range(count)]


def request_of(name: str, prompt: tuple[int, ...], *, tokens: int) -> Request:
    """A greedy request of exactly so many tokens."""
    return Request(RequestId(name), prompt, SamplingParams(tokens_max=tokens, temperature=0.0))


def _measure_batch(model: LoadedModel, extent: Extent, rates: Rates, batch: int) -> BatchFigures:
    decodes = extent.decode_steps[batch]
    stopwatch = _stopwatch(model, batch, extent.prompt_tokens + decodes + 2)
    prompts = unique_prompts(
        model.config.vocab_size, count=batch, tokens=extent.prompt_tokens, seed=batch
    )
    _warm_up(model, stopwatch)
    prefill = stopwatch.run([request_of(f"p{n}", p, tokens=1) for n, p in enumerate(prompts)])
    # One more for the token that the prompt's own step gives, one for steps to fall in with.
    steps = stopwatch.run(
        [request_of(f"d{n}", p, tokens=decodes + 2) for n, p in enumerate(prompts)]
    )
    decode = [step for step in steps if step.is_decode and len(step.rows) == batch]
    prefill_ns = sum(step.total_ns for step in prefill)
    step_ns = statistics.median(step.total_ns for step in decode)
    floor_ns = _floor_ns(model, decode, rates) / len(decode)
    return BatchFigures(
        batch=batch,
        prompt_tokens=extent.prompt_tokens,
        prefill_tokens_per_s=batch * extent.prompt_tokens * 1e9 / prefill_ns,
        prefill_ratio=prefill_ns / _floor_ns(model, prefill, rates),
        decode_tokens_per_s=batch * 1e9 / step_ns,
        step_ms=step_ns / 1e6,
        floor_ms=floor_ns / 1e6,
        ratio=step_ns / floor_ns,
        host_share=statistics.median(step.host_ns / step.total_ns for step in decode),
        resident_mib=resident_bytes() >> 20,
    )


def _measure_prefix(model: LoadedModel, extent: Extent) -> PrefixFigures:
    """The first prompt is cold; the second shares its beginning."""
    length = extent.shared_tokens + extent.suffix_tokens
    stopwatch = _stopwatch(model, 2, length + 1)
    first, second = unique_prompts(model.config.vocab_size, count=2, tokens=length, seed=7)
    second = first[: extent.shared_tokens] + second[extent.shared_tokens :]
    _warm_up(model, stopwatch)
    cold = stopwatch.run([request_of("cold", first, tokens=1)])
    hit = stopwatch.run([request_of("hit", second, tokens=1)])
    return PrefixFigures(
        prompt_tokens=length,
        hit_tokens=hit[0].rows[0].start,
        cold_ttft_ms=sum(step.total_ns for step in cold) / 1e6,
        hit_ttft_ms=sum(step.total_ns for step in hit) / 1e6,
    )


def _floor_ns(model: LoadedModel, steps: list[TimedStep], rates: Rates) -> int:
    works = [
        step_work(model.config, step.stretches(), element_bytes=model.dtype.itemsize)
        for step in steps
    ]
    return total_floor_ns(works, rates)


def _stopwatch(model: LoadedModel, sequences: int, tokens: int) -> Stopwatch:
    blocks = sequences * -(-tokens // BLOCK_SIZE) + 2 * sequences + 8
    return Stopwatch(model, blocks_total=blocks, block_size=BLOCK_SIZE, sequences_max=sequences)


def _warm_up(model: LoadedModel, stopwatch: Stopwatch) -> None:
    """First calls allocate; a prompt of its own, so that nothing is found later."""
    [prompt] = unique_prompts(model.config.vocab_size, count=1, tokens=BLOCK_SIZE, seed=0)
    stopwatch.run([request_of("warm", prompt, tokens=3)])


def _kv_bytes_per_token(model: LoadedModel) -> int:
    config = model.config
    return 2 * config.layers * config.kv_size * model.dtype.itemsize


def _conditions(model: LoadedModel) -> Conditions:
    return Conditions(
        cpu=cpu_name(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        model=model.name,
        dtype=str(model.dtype).removeprefix("torch."),
        kernels=model.kernels.name,
    )
