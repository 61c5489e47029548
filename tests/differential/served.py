"""Requests served by the real engine on the real runner, step by step, as a replica does.

Nothing is in between but the loop: no thread, no network. After each step the
engine proves its invariants; when nothing is left to do, every block is back.
The plans are kept, so that a test can see that the case it is about occurred.

Two engines may use one runner after each other. The second then begins with an
empty cache on a pool full of stale KV, which nobody may read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from protos.messages import Delta, FinishReason, ReplicaId, Request, SampledToken, Snapshot
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.plan import StepPlan
from replicas.engine.step_times import StepTimes
from replicas.model.noise import gumbel_noise, noise_key
from replicas.model.runner import TorchRunner
from tests.differential.paged import Line
from tests.differential.reference import LOGPROB_TOLERANCE, TIE_MARGIN

STEPS_MAX = 5000


@dataclass(slots=True)
class Completion:
    """One choice, as its client was told."""

    request: Request
    choice: int
    chosen: list[SampledToken] = field(default_factory=list)
    hit_tokens: int = 0
    finish: FinishReason | None = None

    @property
    def output(self) -> tuple[int, ...]:
        return tuple(token.token for token in self.chosen)

    @property
    def line(self) -> Line:
        """What the reference judges."""
        return Line(self.request.prompt, (), chosen=self.chosen)

    def extend(self, delta: Delta) -> None:
        assert self.finish is None, "a delta after the last one"
        assert delta.first_index == len(self.chosen), "a delta lost or repeated"
        self.chosen.extend(delta.tokens)
        self.hit_tokens, self.finish = delta.hit_tokens, delta.finish

    def score(self, place: int, token: int) -> float:
        """What choosing compared at this place: the log-probability, and with a temperature the
        noise. The request must ask for all log-probabilities, and truncate nothing."""
        params = self.request.sampling
        logprob = dict(self.chosen[place].top)[token]
        if params.temperature == 0:
            return logprob
        key = noise_key(params.seed + self.choice, len(self.request.prompt) + place)
        noise = gumbel_noise([key], token + 1, torch.device("cpu"))
        return logprob / params.temperature + float(noise[0, token])


class Served:
    """An engine that begins cold, and the runner that computes its plans."""

    def __init__(self, config: EngineConfig, runner: TorchRunner) -> None:
        self.plans: list[StepPlan] = []
        self._engine = Engine(config)
        self._runner = runner

    def serve(self, requests: Sequence[Request]) -> list[Completion]:
        """Submit all at once and run until all are finished: every choice, in their order."""
        completions = [
            Completion(request, choice) for request in requests for choice in range(request.choices)
        ]
        of = {(each.request.request_id, each.choice): each for each in completions}
        for request in requests:
            assert self._engine.submit(request) is None
        for _ in range(STEPS_MAX):
            if self._engine.is_idle:
                break
            for delta in self._step():
                of[delta.request_id, delta.choice].extend(delta)
        assert all(each.finish is not None for each in completions), "some have not finished"
        last = self.snapshot()
        assert last.blocks_free + last.blocks_cached == last.blocks_total, "blocks were lost"
        return completions

    def snapshot(self) -> Snapshot:
        return self._engine.snapshot(
            replica_id=ReplicaId("r"), epoch=1, number=1, times=StepTimes()
        )

    def _step(self) -> tuple[Delta, ...]:
        plan = self._engine.schedule()
        assert plan is not None
        self._engine.check()
        self.plans.append(plan)
        deltas = self._engine.apply(self._runner.run(plan))
        self._engine.check()
        return deltas


def count_ties(expected: Sequence[Completion], found: Sequence[Completion]) -> int:
    """Assert that both runs said the same, and count where rounding made them part.

    A run may part from the other only at a place where both tokens score the
    same to within rounding. What follows has another context and is not compared.
    """
    pairs = list(zip(expected, found, strict=True))
    return sum(_parts_at_a_tie(ours, theirs) for ours, theirs in pairs)


def _parts_at_a_tie(ours: Completion, theirs: Completion) -> bool:
    label = f"{ours.request.request_id}/{ours.choice}"
    for place, (a, b) in enumerate(zip(ours.chosen, theirs.chosen, strict=False)):
        if a.token != b.token:
            margin = abs(ours.score(place, a.token) - ours.score(place, b.token))
            assert margin < TIE_MARGIN, f"{label}, token {place}: not a tie, {margin} apart"
            return True
        assert a.logprob is not None and b.logprob is not None
        assert abs(a.logprob - b.logprob) < LOGPROB_TOLERANCE, f"{label}, token {place}"
    assert (ours.output, ours.finish) == (theirs.output, theirs.finish), label
    return False
