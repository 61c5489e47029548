"""What a preemption costs on this machine: to compute again, or to pause in host memory.

The same crowd of requests on a pool of a fifth of what it would hold at once, by
the real engine and the real model in one thread: with ample memory, without
host memory, and with it. Tokens are counted by the engine, time is the
thread's own, so that neighbours count for less.

    python -m tests.benchmarks.pausing [MODEL REQUESTS]
"""

from __future__ import annotations

import random
import sys

import torch

from protos.messages import ReplicaId, Request, RequestId, SamplingParams, Snapshot
from replicas.bench.machine import clock_ns
from replicas.engine.engine import Engine
from replicas.engine.refusals import blocks_peak
from replicas.engine.shipped import CPU_STEP, shipped
from replicas.engine.step_times import StepTimes
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import resolve_model

BLOCK_SIZE = 16
SHORTAGE = 5


def main() -> None:
    name, count = sys.argv[1:3] if len(sys.argv) > 2 else ("smollm2", "16")
    torch.set_num_threads(1)
    model = load_model(resolve_model(name), device="cpu", dtype="auto")
    requests = crowd(model.config.vocab_size, int(count))
    ample = sum(blocks_peak(request, model.card(BLOCK_SIZE)) for request in requests)
    scarce = ample // SHORTAGE
    print(f"{name}, {model.dtype}, kernels {model.kernels.name}, {count} requests")
    for blocks, host_blocks in ((ample, 0), (scarce, 0), (scarce, ample)):
        print(measured(model, requests, blocks, host_blocks), flush=True)


def crowd(vocab_size: int, count: int) -> list[Request]:
    """Prompts of 60 to 200 tokens that share nothing, 40 to 100 tokens each."""
    rng = random.Random(4)
    return [
        Request(
            RequestId(str(number)),
            tuple(rng.randrange(vocab_size) for _ in range(rng.randint(60, 200))),
            SamplingParams(tokens_max=rng.randint(40, 100), temperature=0.0),
        )
        for number in range(count)
    ]


def measured(model: LoadedModel, requests: list[Request], blocks: int, host_blocks: int) -> str:
    """A line of figures of one run."""
    runner = TorchRunner(model, blocks_total=blocks, block_size=BLOCK_SIZE, host_blocks=host_blocks)
    block_ns = runner.host.block_ns(clock_ns)
    engine = Engine(
        shipped(
            model.card(BLOCK_SIZE),
            blocks,
            CPU_STEP,
            host_blocks=host_blocks,
            host_block_ns=block_ns,
        )
    )
    for request in requests:
        assert engine.submit(request) is None
    began_ns = clock_ns()
    for plan in iter(engine.schedule, None):
        engine.apply(runner.run(plan))
    took_s = (clock_ns() - began_ns) / 1e9
    last = engine.snapshot(replica_id=ReplicaId("r"), epoch=1, number=1, times=StepTimes())
    memory = f"{blocks} blocks, {host_blocks} of the host, {block_ns / 1e3:.0f} us out and back"
    return f"{memory}: {figures(last, took_s)}"


def figures(last: Snapshot, took_s: float) -> str:
    counters = last.counters
    computed = counters.prefill_tokens + counters.recomputed_tokens + counters.decode_tokens
    return (
        f"{took_s:.1f} s, {counters.steps} steps, {computed} tokens computed,"
        f" {counters.recomputed_tokens} of them again, {counters.restored_tokens} restored,"
        f" {counters.preemptions} preemptions, {counters.pauses} of them pauses"
    )


if __name__ == "__main__":
    main()
