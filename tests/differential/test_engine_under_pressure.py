"""Memory decides when a request is computed, never what it says.

The real engine and the real runner on the tiny model: a pool far too small, so
that sequences lose their blocks and compute them again, or are paused; salts;
choices that fork. An undisturbed run is what is compared with. The native kernels promise
the same bits in any company; torch's round differently in another batch, so
there one token may be another where two score the same (none was, in 900).
Guesses decide how many tokens a step chooses, and nothing else either.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from collections.abc import Sequence as ReadOnly
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from protos.messages import Request, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from replicas.engine.refusals import blocks_peak
from replicas.engine.sequence import Sequence
from replicas.model.kernels.native import NativeKernels
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import ModelSource
from replicas.model.tiny import write_tiny
from tests.differential.reference import Reference
from tests.differential.served import Completion, Served, count_ties

BLOCK_SIZE = 4
VOCAB = 256
ALL = 259  # log-probabilities: of the whole vocabulary, so that a tie can be proved
GREEDY = SamplingParams(tokens_max=1, temperature=0.0, logprobs=ALL)
SEEDED = SamplingParams(
    tokens_max=1,
    temperature=0.9,
    repetition_penalty=1.2,
    presence_penalty=0.3,
    frequency_penalty=0.2,
    logprobs=ALL,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The tiny model on one kind of kernels."""

    folder: Path
    model: LoadedModel

    def compare(self, expected: ReadOnly[Completion], found: ReadOnly[Completion]) -> None:
        """The same tokens; and the same bits of all log-probabilities where that is promised."""
        ties = count_ties(expected, found)
        if isinstance(self.model.kernels, NativeKernels):
            assert [each.chosen for each in found] == [each.chosen for each in expected]
        else:
            assert ties <= 1

    def served(
        self,
        blocks_total: int = 1024,
        step_tokens_max: int = 64,
        block_size: int = BLOCK_SIZE,
        guesses_max: int = 0,
        host_blocks: int = 0,
    ) -> Served:
        config = EngineConfig(
            self.model.card(block_size),
            blocks_total,
            step_tokens_max,
            prompt_token_ns=1,
            host_blocks=host_blocks,
            guesses_max=guesses_max,
        )
        runner = TorchRunner(
            self.model, blocks_total=blocks_total, block_size=block_size, host_blocks=host_blocks
        )
        return Served(config, runner)


@pytest.fixture(scope="module", params=["auto", "torch"])
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = write_tiny(tmp_path_factory.mktemp("models"))
    source = ModelSource("tiny", folder)
    yield Bench(folder, load_model(source, device="cpu", dtype="float32", kernels=request.param))
    torch.set_num_threads(threads)


def words(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(VOCAB) for _ in range(count))


def crowd(sampling: SamplingParams) -> list[Request]:
    """24 requests of 1 to 170 tokens behind a few beginnings, every third with two choices."""
    rng = random.Random(5)
    beginnings = [words(rng, length) for length in (0, 16, 40, 110)]
    return [
        Request(
            RequestId(str(n)),
            (*rng.choice(beginnings), *words(rng, rng.randint(1, 60))),
            replace(sampling, tokens_max=rng.randint(10, 50), seed=100 * n),
            choices=2 if n % 3 == 0 else 1,
        )
        for n in range(24)
    ]


def a_tenth_of_demand(bench: Bench, requests: list[Request]) -> int:
    """Blocks, next to all that the requests would hold if they ran at once and shared nothing."""
    card = bench.model.card(BLOCK_SIZE)
    return sum(blocks_peak(request, card) for request in requests) // 10


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_a_pool_far_too_small_changes_no_token(bench: Bench, sampling: SamplingParams) -> None:
    requests = crowd(sampling)
    scarce = bench.served(a_tenth_of_demand(bench, requests))
    ample = bench.served()
    found, expected = scarce.serve(requests), ample.serve(requests)
    assert ample.snapshot().counters.preemptions == 0
    counters = scarce.snapshot().counters
    assert counters.preemptions > 0
    assert counters.recomputed_tokens > 0
    assert counters.hit_tokens > 0
    assert sum(len(plan.copies) for plan in scarce.plans) > 0
    bench.compare(expected, found)


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_a_pause_in_host_memory_changes_no_token(bench: Bench, sampling: SamplingParams) -> None:
    """Enough slots for some of those that are preempted, so that the others compute again."""
    requests = crowd(sampling)
    scarce = bench.served(a_tenth_of_demand(bench, requests), host_blocks=12)
    found, expected = scarce.serve(requests), bench.served().serve(requests)
    counters = scarce.snapshot().counters
    assert 0 < counters.pauses <= counters.preemptions
    assert counters.restored_tokens > 0 < counters.recomputed_tokens
    assert scarce.snapshot().host_blocks_used == 0
    assert sum(len(plan.loads) for plan in scarce.plans) > 0
    bench.compare(expected, found)


def test_greedy_requests_under_pressure_say_what_transformers_says(bench: Bench) -> None:
    requests = crowd(GREEDY)
    served = bench.served(a_tenth_of_demand(bench, requests))
    model = LlamaForCausalLM.from_pretrained(bench.folder, attn_implementation="eager")
    reference = Reference(model)
    for completion in served.serve(requests):
        reference.check(completion.line)
    assert served.snapshot().counters.preemptions > 0
    assert reference.ties <= 1


def test_salts_share_nothing_and_say_the_same(bench: Bench) -> None:
    """One after the other, then together: hits are only behind the own salt."""
    prompt = words(random.Random(1), 53)
    sampling = replace(SEEDED, tokens_max=12)
    served = bench.served()
    salts = (b"red", b"blue", b"")
    rounds = [
        [Request(RequestId(f"{salt!r} {n}"), prompt, sampling, salt=salt) for salt in salts]
        for n in range(2)
    ]
    cold = [completion for request in rounds[0] for completion in served.serve([request])]
    warm = served.serve(rounds[1])
    assert [each.hit_tokens for each in (*cold, *warm)] == [0, 0, 0, 52, 52, 52]
    assert len({each.output for each in cold}) == 1, "the same steps, on other blocks"
    bench.compare(cold, warm)


@pytest.mark.parametrize("prompt_tokens", [1, 15, 16, 37])
def test_choices_on_shared_blocks_say_what_single_requests_say(
    bench: Bench, prompt_tokens: int
) -> None:
    """All but one of the siblings write to a copy of the last block, unless it is full."""
    prompt = words(random.Random(2), prompt_tokens)
    sampling = replace(SEEDED, tokens_max=24, seed=70)
    together = bench.served()
    siblings = together.serve([Request(RequestId("all"), prompt, sampling, choices=3)])
    copies = [copy for plan in together.plans for copy in plan.copies]
    assert len(copies) == (2 if prompt_tokens % BLOCK_SIZE else 0)
    singles = [
        bench.served().serve([Request(RequestId(str(n)), prompt, replace(sampling, seed=70 + n))])
        for n in range(3)
    ]
    assert len({each.output for each in siblings}) == 3
    bench.compare([each for (each,) in singles], siblings)


def foretell(patch: pytest.MonkeyPatch, expected: ReadOnly[Completion]) -> None:
    """Let sequences guess what they will say, with a wrong token among the guesses now and then."""
    outputs = {(each.request.request_id, each.choice): each.output for each in expected}
    original = Sequence.guesses

    def guesses(self: Sequence, limit: int) -> tuple[int, ...]:
        original(self, 0)
        said = len(self.output)
        right = outputs[self.request.request_id, self.choice][said : said + min(limit, 6)]
        wrong = said % 9  # in this place, unless there are fewer
        return tuple((each + (n == wrong)) % VOCAB for n, each in enumerate(right))

    patch.setattr(Sequence, "guesses", guesses)


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_guesses_change_no_token(
    bench: Bench, sampling: SamplingParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a bit of any log-probability, preempted or not, with penalties for what was guessed."""
    requests = crowd(sampling)[::2]
    plain = bench.served(block_size=16)
    expected = plain.serve(requests)
    foretell(monkeypatch, expected)
    blocks_total = a_tenth_of_demand(bench, requests) * BLOCK_SIZE // 8
    guessing = bench.served(blocks_total, block_size=16, guesses_max=6)
    found = guessing.serve(requests)
    counters = guessing.snapshot().counters
    assert counters.preemptions > 0
    assert counters.accepted_tokens > counters.decode_tokens / 4
    assert counters.guessed_tokens > 1.2 * counters.accepted_tokens
    assert sum(row.guesses > 0 for plan in guessing.plans for row in plan.rows) > 50
    bench.compare(expected, found)


def test_what_the_lookup_itself_guesses_changes_no_token_either(bench: Bench) -> None:
    """The tiny model seldom repeats itself, but now and then it does."""
    prompts = (words(random.Random(seed), 8) * 4 for seed in range(6))
    sampling = replace(GREEDY, tokens_max=120)
    requests = [Request(RequestId(str(n)), prompt, sampling) for n, prompt in enumerate(prompts)]
    plain, guessing = bench.served(block_size=16), bench.served(block_size=16, guesses_max=8)
    bench.compare(plain.serve(requests), guessing.serve(requests))
    counters = guessing.snapshot().counters
    assert 5 < counters.accepted_tokens < counters.guessed_tokens
