"""One memory model, one workload, from the first arrival to the last token.

A single replica is a loop: give it what has arrived, let it schedule, move the
clock by the step's cost, apply the outcome. No event loop is needed for that.
Every request ends as an answer or as a failure; a replay in which one does not,
or after which memory is still held, is a bug and fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.executor import choose
from orchestrator.sim.incident.contiguous_engine import Failure
from orchestrator.sim.incident.memory import MemoryState
from orchestrator.sim.incident.models import MODELS, MemoryModel, PoolConfig
from orchestrator.sim.incident.workload import STOP_TOKEN
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.traffic import Arrival
from protos.messages import Delta, RequestId, SampledToken
from replicas.engine.plan import Sample, StepOutcome, StepPlan

SAMPLE_NS = NS_PER_S  # between two looks at the memory


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that ran to its end."""

    arrival: Arrival
    first_ns: int
    last_ns: int
    tokens: int

    @property
    def ttft_s(self) -> float:
        """Seconds until its first token."""
        return (self.first_ns - self.arrival.arrival_ns) / NS_PER_S

    @property
    def tpot_s(self) -> float:
        """Mean seconds between its tokens."""
        return (self.last_ns - self.first_ns) / (self.tokens - 1) / NS_PER_S


@dataclass(frozen=True, slots=True)
class Look:
    """The memory at one moment."""

    now_ns: int
    memory: MemoryState


@dataclass(slots=True)
class Replay:
    """What happened to one model."""

    model: str
    answers: list[Answer] = field(default_factory=list)  # in the order in which they ended
    failures: list[tuple[Arrival, Failure]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    steps: int = 0
    preemptions: int = 0
    ended_ns: int = 0


def replay(
    name: str,
    arrivals: Sequence[Arrival],
    pool: PoolConfig,
    cost_model: CostModel,
) -> Replay:
    """Run the model of this name over the arrivals."""
    return _Loop(name, arrivals, pool, cost_model, MODELS[name](pool)).run()


class _Loop:
    def __init__(
        self,
        name: str,
        arrivals: Sequence[Arrival],
        pool: PoolConfig,
        cost_model: CostModel,
        model: MemoryModel,
    ) -> None:
        self._pool = pool
        self._cost_model = cost_model
        self._model = model
        self._due = iter(arrivals)
        self._next = next(self._due, None)
        self._now_ns = 0
        self._look_ns = 0
        self._open: dict[RequestId, Arrival] = {}
        self._begun: dict[RequestId, int] = {}  # when each got its first token
        self._replay = Replay(name)

    def run(self) -> Replay:
        """To the end of the last request."""
        held = self._held()
        while (plan := self._plan()) is not None:
            self._now_ns += self._cost_model.cost_ns(plan)
            for delta in self._model.apply(self._outcome(plan)):
                self._take(delta)
            self._look()
        assert not self._open, f"{len(self._open)} requests never ended: {min(self._open)}"
        self._model.check()
        assert self._held() == held, f"{self._held() - held} slots leaked"
        self._replay.preemptions = self._model.preemptions()
        self._replay.ended_ns = self._now_ns
        return self._replay

    def _plan(self) -> StepPlan | None:
        """The next step, at its time; None when there is nothing left to do."""
        while True:
            self._submit()
            plan = self._model.schedule(self._now_ns)
            for failure in self._model.take_failures():
                self._replay.failures.append((self._open.pop(failure.request_id), failure))
            if plan is not None or self._next is None:
                return plan
            self._now_ns = self._next.arrival_ns

    def _submit(self) -> None:
        while self._next is not None and self._next.arrival_ns <= self._now_ns:
            self._open[RequestId(f"r{self._next.number}")] = self._next
            self._model.submit(self._next)
            self._next = next(self._due, None)

    def _outcome(self, plan: StepPlan) -> StepOutcome:
        return StepOutcome(tuple(tuple(map(self._sampled, row.samples)) for row in plan.rows))

    def _sampled(self, sample: Sample) -> SampledToken:
        """The next made-up token, or the stop token where the answer ends."""
        arrival = self._open[RequestId(f"r{sample.seed}")]
        if len(sample.output) + 1 == arrival.output_tokens:
            return SampledToken(STOP_TOKEN)
        return choose(sample)

    def _take(self, delta: Delta) -> None:
        first_ns = self._begun.setdefault(delta.request_id, self._now_ns)
        if delta.finish is None:
            return
        arrival = self._open.pop(delta.request_id)
        tokens = delta.first_index + 1
        assert tokens == arrival.output_tokens, f"{delta.request_id} ended after {tokens} tokens"
        self._replay.answers.append(Answer(arrival, first_ns, self._now_ns, tokens))

    def _look(self) -> None:
        self._replay.steps += 1
        if self._replay.steps % self._pool.check_every_steps == 0:
            self._model.check()
        if self._now_ns >= self._look_ns:
            self._replay.looks.append(Look(self._now_ns, self._model.memory_state()))
            self._look_ns = self._now_ns - self._now_ns % SAMPLE_NS + SAMPLE_NS

    def _held(self) -> int:
        memory = self._model.memory_state()
        return memory.slots_total - memory.slots_free
