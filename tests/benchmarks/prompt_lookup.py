"""What guesses gain and cost on a CPU: decodes with and without, of text that repeats and not.

    python -m tests.benchmarks.prompt_lookup [--guesses 8] [--tokens 160]

SmolLM2. Quoted: the model is asked to repeat a list, which it does. Sampled: a story at
temperature 0.7. Random: tokens that mean nothing, where nothing is found. Times are
thread CPU time of whole steps that only decode, so that neighbours disturb them less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from protos.messages import ReplicaId, Request, RequestId, SamplingParams
from replicas.bench.engine_bench import unique_prompts
from replicas.bench.machine import clock_ns
from replicas.bench.start import load_for_bench
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.lookup import Lookup
from replicas.engine.step_times import StepTimes
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner
from replicas.model.source import resolve_model
from tests.differential.test_smollm2 import build_tokenizer

MODEL = "smollm2"  # whose tokenizer is known here
BLOCK_SIZE = 16
LINES = "".join(f"[tool] read_file path=src/part_{n}.py -> ok, {n * 37 % 200}\n" for n in range(24))
STORY = "Write a long story about a fox, a crow and a lighthouse.\n\nOnce upon a time"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decodes of a batch."""

    tokens: int
    steps: int
    cpu_ns: int
    guessed: int
    accepted: int

    def __str__(self) -> str:
        rate = self.accepted / self.guessed if self.guessed else 0.0
        return (
            f"{self.tokens / self.cpu_ns * 1e9:6.1f} tok/s  {self.cpu_ns / self.steps / 1e6:6.1f} "
            f"ms a step  {self.guessed} guessed, {rate:.0%} right"
        )


def decode(model: LoadedModel, requests: list[Request], guesses: int) -> Decoded:
    """Run all at once; steps in which somebody prefills do not count."""
    blocks = 8 + sum(
        (len(each.prompt) + each.sampling.tokens_max) // BLOCK_SIZE + 2 for each in requests
    )
    config = EngineConfig(model.card(BLOCK_SIZE), blocks, guesses_max=guesses)
    engine = Engine(config)
    runner = TorchRunner(model, blocks_total=blocks, block_size=BLOCK_SIZE)
    for request in requests:
        assert engine.submit(request) is None
    cpu_ns = steps = tokens = 0
    while not engine.is_idle:
        began_ns = clock_ns()
        plan = engine.schedule()
        assert plan is not None
        deltas = engine.apply(runner.run(plan))
        if not plan.prefill_tokens:
            cpu_ns += clock_ns() - began_ns
            steps += 1
            tokens += sum(len(delta.tokens) for delta in deltas)
    snapshot = engine.snapshot(replica_id=ReplicaId("r"), epoch=1, number=1, times=StepTimes())
    counters = snapshot.counters
    return Decoded(tokens, steps, cpu_ns, counters.guessed_tokens, counters.accepted_tokens)


def requests_of(model: LoadedModel, kind: str, batch: int, tokens: int) -> list[Request]:
    """Alike, but for a beginning or a seed of their own."""
    tokenizer = build_tokenizer(resolve_model(MODEL))
    greedy = SamplingParams(tokens_max=tokens, temperature=0.0)
    if kind == "random":
        vocab = model.config.vocab_size
        prompts = unique_prompts(vocab, count=batch, tokens=512, seed=3)
        sampled = replace(greedy, temperature=1.0)
        return [Request(RequestId(f"{n}"), p, sampled) for n, p in enumerate(prompts)]
    texts = {"quoted": f"{LINES}\nThe same list again:\n", "sampled": STORY}
    sampling = greedy if kind == "quoted" else replace(greedy, temperature=0.7, top_p=0.95)
    return [
        Request(
            RequestId(f"{n}"),
            tuple(tokenizer.encode(f"Request {n}.\n\n{texts[kind]}").ids),
            replace(sampling, seed=n),
        )
        for n in range(batch)
    ]


def lookup_us(tokens: int) -> float:
    """Of a guess that finds nothing, which looks at everything."""
    [prompt] = unique_prompts(49_152, count=1, tokens=tokens, seed=5)
    lookup = Lookup()
    lookup.extend(prompt)
    began_ns = clock_ns()
    for n in range(1000):
        lookup.extend((n,))
        assert not lookup.guesses(8)
    return (clock_ns() - began_ns) / 1e6


@click.command()
@click.option("--guesses", default=8, show_default=True)
@click.option("--tokens", default=160, show_default=True)
@click.option("--batch", "batches", type=int, multiple=True, default=(1, 8), show_default=True)
def main(guesses: int, tokens: int, batches: tuple[int, ...]) -> None:
    """Print one line for each kind of text, batch and number of guesses."""
    loaded = load_for_bench(MODEL, dtype="bfloat16")
    click.echo(f"{loaded.name}, bfloat16, {loaded.kernels.name} kernels, one thread")
    for context in (700, 8000):
        click.echo(f"a guess at {context} tokens: {lookup_us(context):.1f} us")
    for kind in ("quoted", "sampled", "random"):
        for batch in batches:
            requests = requests_of(loaded, kind, batch, tokens)
            for most in (0, guesses):
                click.echo(f"{kind:8} batch {batch:2} guesses {most:2}: ", nl=False)
                click.echo(str(decode(loaded, requests, most)))


if __name__ == "__main__":
    main()
