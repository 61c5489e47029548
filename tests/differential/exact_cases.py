"""Requests of all kinds of sampling, and schedules that between them have every case."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from protos.messages import Request, RequestId, SamplingParams
from replicas.model.loading import LoadedModel
from tests.differential.exact import Ledger, Said, Schedule, Site, play

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
# What has been said is said again, so that some of it can be guessed.
REPEATING = (
    replace(PLAIN, frequency_penalty=-2.0),
    replace(PLAIN, temperature=1.0, top_p=0.9, frequency_penalty=-2.0),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A way to be scheduled, which of the requests are, and what must occur."""

    schedule: Schedule
    occurs: tuple[str, ...]
    sites: int = 1
    first: int = 0


CASES = {
    "together": Case(Schedule(), ("shared",)),
    "in chunks": Case(Schedule(step_tokens_max=7), ("chunked",), first=6),
    "chunks beside decodes": Case(Schedule(block_size=4, step_tokens_max=65), ("mixed",)),
    "in large blocks, few at once": Case(Schedule(block_size=32, sequences_max=3), ("copies",)),
    "preempted": Case(Schedule(block_size=4, blocks_total=60), ("preemptions",), first=6),
    "paused": Case(
        Schedule(block_size=4, blocks_total=60, host_blocks=200), ("restored",), first=6
    ),
    "with guesses": Case(Schedule(guesses_max=6), ("shared", "accepted", "refuted")),
    "paused with guesses, not all of it": Case(
        Schedule(block_size=4, blocks_total=60, guesses_max=6, host_blocks=8),
        ("restored", "accepted", "refuted"),
        first=6,
    ),
    "moved": Case(Schedule(), ("moves",), sites=2),
    "moved in a crowded pool": Case(Schedule(block_size=4, blocks_total=100), ("moves",), 2, 6),
    "moved, paused and with guesses": Case(
        Schedule(block_size=4, blocks_total=44, guesses_max=6, host_blocks=40),
        ("moves", "restored", "accepted", "refuted"),
        sites=2,
        first=6,
    ),
}


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

    def check_case(self, case: Case) -> None:
        """Cold, and again with everything cached that has stayed."""
        sites = self.sites(case.schedule, case.sites)
        for seed in range(2):
            self.check(sites, self.requests[case.first :], seed)
        seen = Counter[str]()
        for site in sites:
            seen.update(site.seen)
        assert min(seen[what] for what in (*case.occurs, "hits")) > 0, seen


def bench_of(model: LoadedModel, ledger: Ledger) -> Bench:
    """The model with what it says by itself."""
    requests, said = crowd(), Said()
    for request in requests:
        said |= play([Site(model, Schedule(), ledger)], [request], random.Random(0))
    return Bench(model, requests, ledger, said)


def words(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(VOCAB) for _ in range(count))


def crowd() -> list[Request]:
    """Twice each kind of sampling: six requests behind a beginning that is long enough to share,
    then six short ones and those that repeat themselves."""
    rng = random.Random(7)
    beginnings = [words(rng, 280), words(rng, 20)]
    return [
        Request(
            RequestId(str(n)),
            (*beginnings[n >= 6], *words(rng, 1 + 2 * n)),
            replace(kind, tokens_max=10 + 2 * n, seed=1000 + n),
            choices=1 + (n % 3 == 0),
        )
        for n, kind in enumerate((*KINDS, *KINDS, *REPEATING))
    ]
