"""A pool of a tenth of the demand costs waiting, and next to no work.

Forty requests of all classes come at once, to an engine whose memory holds a
tenth of what they would hold together. Each gets the tokens that it must get,
from KV that was really moved, and the GPU is done no later than 15 % after the
time that the same requests take one after another: in fact much earlier, as
steps are shared. So that this does not hide work that is done twice, the tokens
that were computed are counted, too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import cast

import pytest

from orchestrator.control.seams import Clock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.exact_executor import ExactExecutor, completion
from orchestrator.workload.tokens import VOCAB_SIZE
from protos.messages import (
    EngineCounters,
    ModelCard,
    ReplicaId,
    Request,
    RequestClass,
    RequestId,
    SamplingParams,
)
from replicas.engine.engine import Engine
from replicas.engine.refusals import blocks_peak
from replicas.engine.shipped import StepSize, shipped
from replicas.engine.step_times import StepTimes

REQUESTS = 40
CARD = ModelCard("m", "1", "none", 16, 4096, VOCAB_SIZE)
GPU = CostModel()
# SmolLM2 on one core, as `blockyard bench engine` measures it.
CPU = CostModel(
    step_ns=30_000_000,
    prefill_token_ns=400_000,
    decode_sequence_ns=2_000_000,
    kv_token_ns=4_000,
    host_block_ns=200_000,
    step_tokens_max=256,
)


@dataclass(frozen=True, slots=True)
class Run:
    """What it took."""

    total_ns: int
    counters: EngineCounters

    @property
    def fed_tokens(self) -> int:
        counters = self.counters
        return counters.prefill_tokens + counters.recomputed_tokens + counters.decode_tokens


def crowd(seed: int) -> list[Request]:
    """Prompts of 5 to 600 tokens, a half of them behind two beginnings, with long answers."""
    rng = random.Random(seed)

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(VOCAB_SIZE) for _ in range(count))

    beginnings = [words(length) for length in (0, 0, 64, 200)]
    return [
        Request(
            RequestId(str(number)),
            (*rng.choice(beginnings), *words(rng.randint(5, 400))),
            SamplingParams(tokens_max=rng.randint(20, 400), seed=number),
            request_class=rng.choice(tuple(RequestClass)),
        )
        for number in range(REQUESTS)
    ]


def a_tenth_of_demand(requests: list[Request]) -> int:
    """Blocks, next to all that the requests would hold if they ran at once and shared nothing."""
    return sum(blocks_peak(request, CARD) for request in requests) // 10


def serve(requests: list[Request], costs: CostModel, *, host_blocks: int, turns: int) -> Run:
    """In so many turns, each of which begins when the one before is over."""
    blocks = a_tenth_of_demand(requests)
    step = StepSize(costs.step_tokens_max, 64, prompt_token_ns=2 * costs.prefill_token_ns)
    bounds = shipped(
        CARD, blocks, step, host_blocks=host_blocks, host_block_ns=2 * costs.host_block_ns
    )
    engine = Engine(bounds)
    executor = ExactExecutor(
        cast(Clock, None), costs, blocks_total=blocks, block_size=CARD.block_size
    )
    said: dict[RequestId, list[int]] = {request.request_id: [] for request in requests}
    total_ns = 0
    for turn in range(turns):
        for request in requests[turn::turns]:
            assert engine.submit(request) is None
        for plan in iter(engine.schedule, None):
            total_ns += costs.cost_ns(plan)
            for delta in engine.apply(executor.compute(plan)):
                said[delta.request_id].extend(each.token for each in delta.tokens)
        engine.check()
    for request in requests:
        tokens = completion(request, choice=0, count=request.sampling.tokens_max)
        assert tuple(said[request.request_id]) == tokens
    snapshot = engine.snapshot(replica_id=ReplicaId("r"), epoch=1, number=1, times=StepTimes())
    assert snapshot.blocks_used == snapshot.host_blocks_used == 0
    return Run(total_ns, snapshot.counters)


@dataclass(frozen=True, slots=True)
class Case:
    """A crowd, a machine, and what that takes one after another."""

    requests: list[Request]
    costs: CostModel
    alone: Run

    def together(self, host_blocks: int) -> Run:
        return serve(self.requests, self.costs, host_blocks=host_blocks, turns=1)


@pytest.fixture(scope="module", params=[(0, GPU), (1, GPU), (2, CPU)], ids=["0", "1", "cpu"])
def case(request: pytest.FixtureRequest) -> Case:
    seed, costs = request.param
    requests = crowd(seed)
    alone = serve(requests, costs, host_blocks=0, turns=REQUESTS)
    assert alone.counters.preemptions == alone.counters.recomputed_tokens == 0
    assert alone.counters.hit_tokens > 0
    return Case(requests, costs, alone)


def test_with_host_memory_nothing_is_computed_twice(case: Case) -> None:
    paused = case.together(host_blocks=1000)
    assert paused.counters.pauses == paused.counters.preemptions > 5
    assert paused.counters.restored_tokens > 1000
    assert paused.total_ns < 1.15 * case.alone.total_ns
    assert paused.fed_tokens < 1.02 * case.alone.fed_tokens


def test_without_it_little_is(case: Case) -> None:
    """9 to 19 % more tokens over eight crowds of this kind."""
    crowded = case.together(host_blocks=0)
    assert crowded.counters.preemptions > 5
    assert crowded.counters.recomputed_tokens > 0 == crowded.counters.restored_tokens
    assert crowded.total_ns < 1.15 * case.alone.total_ns
    assert crowded.fed_tokens < 1.25 * case.alone.fed_tokens


def test_what_is_computed_again_is_no_hit(case: Case) -> None:
    """Each token of a prompt is found at its first admission or computed for the first time."""
    for host_blocks in (0, 1000):
        counters = case.together(host_blocks).counters
        assert counters.hit_tokens + counters.prefill_tokens == counters.prompt_tokens
        said = sum(request.sampling.tokens_max for request in case.requests)
        assert counters.decode_tokens == said - REQUESTS
