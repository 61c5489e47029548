"""The least that drives an engine by hand: a card, a request, a step with chosen tokens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from protos.messages import (
    Delta,
    ModelCard,
    ReplicaId,
    Request,
    RequestClass,
    RequestId,
    SampledToken,
    SamplingParams,
    Snapshot,
)
from replicas.engine.acceptance import accepted
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.plan import StepOutcome, StepPlan
from replicas.engine.step_times import StepTimes

A, B, C = RequestId("a"), RequestId("b"), RequestId("c")


def card(block_size: int = 4, context: int = 64, vocab: int = 1000) -> ModelCard:
    """A small model."""
    return ModelCard("m", "1", "f32", block_size, context, vocab)


def engine(
    blocks: int = 32,
    *,
    block_size: int = 4,
    budget: int = 64,
    sequences: int = 8,
    waiting: int = 8,
    watermark: int = 0,
    context: int = 64,
    headroom: int = 0,
    headroom_steps: int = 512,
    yielding: int = 256,
    patience_ms: int = 30_000,
    steps: int = 1,
    guesses: int = 0,
    host: int = 0,
    host_block_ns: int = 0,
    token_ns: int = 0,
) -> Engine:
    """An engine with the given bounds."""
    return Engine(
        EngineConfig(
            card=card(block_size, context),
            blocks_total=blocks,
            step_tokens_max=budget,
            sequences_max=sequences,
            waiting_max=waiting,
            watermark_blocks=watermark,
            headroom_blocks=headroom,
            headroom_steps=headroom_steps,
            yielding_tokens_max=yielding,
            patience_ms=patience_ms,
            steps_max=steps,
            guesses_max=guesses,
            host_blocks=host,
            host_block_ns=host_block_ns,
            prompt_token_ns=token_ns,
        )
    )


def request(
    request_id: RequestId = A,
    prompt: int | tuple[int, ...] = 6,
    *,
    tokens_max: int = 4,
    tokens_min: int = 0,
    stop: tuple[int, ...] = (),
    choices: int = 1,
    seed: int = 0,
    salt: bytes = b"",
    output: tuple[int, ...] = (),
    first_choice: int = 0,
    request_class: RequestClass = RequestClass.INTERACTIVE,
    deadline_ms: int | None = None,
) -> Request:
    """A request; an int as the prompt means so many tokens, the same for all."""
    tokens = tuple(range(prompt)) if isinstance(prompt, int) else prompt
    sampling = SamplingParams(tokens_max, tokens_min, seed=seed, stop_token_ids=stop)
    return Request(
        request_id=request_id,
        prompt=tokens,
        sampling=sampling,
        choices=choices,
        salt=salt,
        output=output,
        first_choice=first_choice,
        request_class=request_class,
        deadline_ms=deadline_ms,
    )


def outcome(plan: StepPlan, token: int = 7, *, steps: int = 1) -> StepOutcome:
    """Every sample is the same token, in each of so many steps."""
    sampled = [
        accepted(row, repeat(SampledToken(token)))
        if row.guesses
        else (SampledToken(token),) * len(row.samples)
        for row in plan.rows
    ]
    return StepOutcome(tuple(each * steps for each in sampled), steps)


def schedule(subject: Engine) -> StepPlan:
    """The next plan, which there must be."""
    plan = subject.schedule()
    assert plan is not None
    subject.check()
    return plan


def step(subject: Engine, token: int = 7) -> tuple[Delta, ...]:
    """One whole step."""
    deltas = subject.apply(outcome(schedule(subject), token))
    subject.check()
    return deltas


def run(subject: Engine, *, steps_max: int = 1000) -> Iterator[Delta]:
    """Steps until nothing is left."""
    for _ in range(steps_max):
        if subject.is_idle:
            return
        yield from step(subject)
    raise AssertionError(f"not done after {steps_max} steps")


def report(subject: Engine, times: StepTimes | None = None) -> Snapshot:
    """Its snapshot."""
    return subject.snapshot(
        replica_id=ReplicaId("r"), epoch=3, number=1, times=times or StepTimes()
    )
