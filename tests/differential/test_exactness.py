"""A request has the same logits and the same choices, to the bit, however it is scheduled.

Requests of all kinds of sampling on the real engine and the real runner, with
the tiny model: what each says alone is what all schedules are compared with.
The promise is that of deterministic kernels; torch's keep to a tolerance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from protos.messages import Request, RequestId, SamplingParams
from replicas.model.loading import LoadedModel, load_model
from replicas.model.source import ModelSource
from replicas.model.tiny import write_tiny
from tests.differential.exact import Ledger, Said, Schedule, Site, play
from tests.differential.kernels import native_library

VOCAB = 256
PLAIN = SamplingParams(tokens_max=1, temperature=0.0, logprobs=20)
KINDS = (
    PLAIN,
    replace(PLAIN, temperature=1.0),
    replace(PLAIN, temperature=1.3, top_p=0.9),
    replace(PLAIN, temperature=0.8, top_k=40, repetition_penalty=1.2),
    replace(PLAIN, temperature=1.0, min_p=0.05, presence_penalty=0.4, frequency_penalty=0.3),
    replace(PLAIN, repetition_penalty=1.3, logprobs=3),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield write_tiny(tmp_path_factory.mktemp("models"))
    torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class Bench:
    """A model, and what it says to each request by itself, cold and whole."""

    model: LoadedModel
    requests: list[Request]
    ledger: Ledger
    expected: Said

    def sites(self, schedule: Schedule, count: int) -> list[Site]:
        return [Site(self.model, schedule, self.ledger) for _ in range(count)]

    def check(self, sites: Sequence[Site], requests: Sequence[Request], seed: int) -> None:
        """Served together they say what each says alone, and their logits are what they were."""
        names = {request.request_id for request in requests}
        wanted = {key: tokens for key, tokens in self.expected.items() if key[0] in names}
        assert play(sites, requests, random.Random(seed)) == wanted


def bench_of(model: LoadedModel, ledger: Ledger) -> Bench:
    requests, said = crowd(), Said()
    for request in requests:
        said |= play([Site(model, Schedule(), ledger)], [request], random.Random(0))
    return Bench(model, requests, ledger, said)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def bench(request: pytest.FixtureRequest, folder: Path) -> Bench:
    native_library()
    source = ModelSource("tiny", folder)
    model = load_model(source, device="cpu", dtype=request.param, deterministic=True)
    return bench_of(model, Ledger())


def words(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(VOCAB) for _ in range(count))


def crowd() -> list[Request]:
    """Twice each kind of sampling: six requests behind a beginning that is long enough to share,
    then six short ones."""
    rng = random.Random(7)
    beginnings = [words(rng, 280), words(rng, 20)]
    return [
        Request(
            RequestId(str(n)),
            (*beginnings[n // 6], *words(rng, 1 + 2 * n)),
            replace(KINDS[n % 6], tokens_max=10 + 2 * n, seed=1000 + n),
            choices=1 + (n % 3 == 0),
        )
        for n in range(12)
    ]


@dataclass(frozen=True, slots=True)
class Case:
    """A way to be scheduled, which of the requests are, and what must occur."""

    schedule: Schedule
    occurs: str
    sites: int = 1
    first: int = 0


CASES = {
    "together": Case(Schedule(), "shared"),
    "in chunks": Case(Schedule(step_tokens_max=7), "chunked", first=6),
    "chunks beside decodes": Case(Schedule(block_size=4, step_tokens_max=65), "mixed"),
    "in large blocks, few at once": Case(Schedule(block_size=32, sequences_max=3), "copies"),
    "preempted": Case(Schedule(block_size=4, blocks_total=60), "preemptions", first=6),
    "moved": Case(Schedule(), "moves", sites=2),
    "moved in a crowded pool": Case(Schedule(block_size=4, blocks_total=100), "moves", 2, 6),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_schedule_changes_a_bit(bench: Bench, case: Case) -> None:
    """Cold, and again with everything cached that has stayed."""
    sites = bench.sites(case.schedule, case.sites)
    for seed in range(2):
        bench.check(sites, bench.requests[case.first :], seed)
    assert sum(site.seen[case.occurs] for site in sites) > 0
    assert sum(site.seen["hits"] for site in sites) > 0


@pytest.mark.parametrize("seed", range(3))
def test_nor_do_schedules_at_random(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    size = rng.choice((1, 4, 16, 32))
    schedule = Schedule(
        block_size=size,
        blocks_total=rng.choice((700, 1000, 4000)) // size,
        step_tokens_max=rng.randint(20, 400),
        sequences_max=rng.randint(2, 20),
    )
    requests = rng.sample(bench.requests, len(bench.requests))
    bench.check(bench.sites(schedule, rng.choice((1, 2))), requests, seed)


# What README.md states: of logits up to 13. A bfloat16 of 8 to 16 has a last place of 1/16.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.25}


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_torch_keeps_to_a_tolerance_and_in_float32_to_the_greedy_tokens(
    folder: Path, dtype: str
) -> None:
    """Where a token differs, what follows has another context and is not compared."""
    source = ModelSource("tiny", folder)
    model = load_model(source, device="cpu", dtype=dtype, kernels="torch")
    ledger = Ledger(TOLERANCES[dtype])
    bench = bench_of(model, ledger)
    for case in CASES.values():
        said = play(
            bench.sites(case.schedule, case.sites), bench.requests[case.first :], random.Random(1)
        )
        for (name, choice), tokens in said.items():
            if dtype == "float32" and bench.requests[int(name)].sampling.temperature == 0:
                told = [token.token for token in bench.expected[name, choice]]
                assert [token.token for token in tokens] == told
    assert ledger.compared > 500
    assert ledger.farthest > 0, "or they could be called deterministic"
