"""One memory model, one workload, from the first arrival to the last token.

A single replica is a loop: give it what has arrived, let it schedule, let the
machine compute, apply the outcome. No event loop is needed for that. How long
an answer gets is the workload's knowledge: where one ends, its token is
replaced by the stop token, whatever was computed.

Every request ends as an answer or as a failure; a replay in which one does not,
or after which memory is still held, is a bug and fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.sim.incident.contiguous_engine import Failure
from orchestrator.sim.incident.machine import Machine
from orchestrator.sim.incident.memory import MemoryState
from orchestrator.sim.incident.models import MODELS, MemoryModel, PoolConfig
from orchestrator.sim.incident.workload import Asking, request_id_of
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.traffic import Arrival
from protos.messages import Delta, RequestId, SampledToken
from replicas.engine.plan import StepOutcome, StepPlan

# Looks at the memory, evenly over the time in which requests arrive; but not so often that
# looking, which draws a map, would take a noticeable share of a live run.
LOOKS, LOOK_NS_MIN = 160, NS_PER_S // 20


@dataclass(frozen=True, slots=True)
class Answer:
    """A request that ran to its end."""

    arrival: Arrival
    first_ns: int
    last_ns: int
    said: tuple[int, ...]

    @property
    def ttft_s(self) -> float:
        """Seconds until its first token."""
        return (self.first_ns - self.arrival.arrival_ns) / NS_PER_S

    @property
    def tpot_s(self) -> float:
        """Mean seconds between its tokens."""
        return (self.last_ns - self.first_ns) / (len(self.said) - 1) / NS_PER_S


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


Progress = Callable[[str, int], None]  # the model, and the time of its replay in ns


def replay(
    name: str,
    arrivals: Sequence[Arrival],
    pool: PoolConfig,
    asking: Asking,
    machine: Machine,
    progress: Progress = lambda name, now_ns: None,
) -> Replay:
    """Run the model of this name over the arrivals."""
    model = MODELS[name](pool, asking)
    return _Loop(name, arrivals, pool, asking, machine, model, progress).run()


class _Loop:
    def __init__(
        self,
        name: str,
        arrivals: Sequence[Arrival],
        pool: PoolConfig,
        asking: Asking,
        machine: Machine,
        model: MemoryModel,
        progress: Progress,
    ) -> None:
        self._pool = pool
        self._stop = SampledToken(asking.stop_token)
        self._machine = machine
        self._model = model
        self._progress = progress
        self._due = iter(arrivals)
        self._next = next(self._due, None)
        self._lengths = {arrival.number: arrival.output_tokens for arrival in arrivals}
        self._between_looks_ns = max(LOOK_NS_MIN, arrivals[-1].arrival_ns // LOOKS)
        self._look_ns = 0
        self._open: dict[RequestId, Arrival] = {}
        self._begun: dict[RequestId, int] = {}  # when each got its first token
        self._said: dict[RequestId, list[int]] = {}
        self._replay = Replay(name)

    def run(self) -> Replay:
        """To the end of the last request."""
        for preparation in self._model.prepare():
            self._machine.compute(preparation)
        held = self._held()
        self._machine.start()
        while (plan := self._plan()) is not None:
            outcome = self._ended(plan, self._machine.compute(plan))
            now_ns = self._machine.now_ns()
            for delta in self._model.apply(outcome):
                self._take(delta, now_ns)
            self._look(now_ns)
        assert not self._open, f"{len(self._open)} requests never ended: {min(self._open)}"
        self._model.check()
        assert self._held() == held, f"{self._held() - held} slots leaked"
        self._replay.preemptions = self._model.preemptions()
        self._replay.ended_ns = self._machine.now_ns()
        return self._replay

    def _plan(self) -> StepPlan | None:
        """The next step, at its time; None when there is nothing left to do."""
        while True:
            now_ns = self._machine.now_ns()
            self._submit(now_ns)
            plan = self._model.schedule(now_ns)
            for failure in self._model.take_failures():
                self._replay.failures.append((self._open.pop(failure.request_id), failure))
            if plan is not None or self._next is None:
                return plan
            self._machine.wait_until(self._next.arrival_ns)

    def _submit(self, now_ns: int) -> None:
        while self._next is not None and self._next.arrival_ns <= now_ns:
            self._open[request_id_of(self._next)] = self._next
            self._model.submit(self._next)
            self._next = next(self._due, None)

    def _ended(self, plan: StepPlan, outcome: StepOutcome) -> StepOutcome:
        """The outcome, with a stop token where an answer ends."""
        lengths, stop = self._lengths, self._stop
        return StepOutcome(
            tuple(
                tuple(
                    stop if len(sample.output) + 1 == lengths[sample.seed] else token
                    for sample, token in zip(row.samples, sampled, strict=True)
                )
                for row, sampled in zip(plan.rows, outcome.sampled, strict=True)
            )
        )

    def _take(self, delta: Delta, now_ns: int) -> None:
        said = self._said.setdefault(delta.request_id, [])
        assert delta.first_index == len(said), f"{delta.request_id} skips or repeats a token"
        said.extend(sampled.token for sampled in delta.tokens)
        first_ns = self._begun.setdefault(delta.request_id, now_ns)
        if delta.finish is None:
            return
        arrival = self._open.pop(delta.request_id)
        tokens = self._said.pop(delta.request_id)
        ended = f"{delta.request_id} ended after {len(tokens)} tokens"
        assert len(tokens) == arrival.output_tokens, ended
        self._replay.answers.append(Answer(arrival, first_ns, now_ns, tuple(tokens)))

    def _look(self, now_ns: int) -> None:
        self._replay.steps += 1
        if self._replay.steps % self._pool.check_every_steps == 0:
            self._model.check()
        if now_ns >= self._look_ns:
            self._replay.looks.append(Look(now_ns, self._model.memory_state()))
            self._look_ns = now_ns - now_ns % self._between_looks_ns + self._between_looks_ns
            self._progress(self._replay.model, now_ns)

    def _held(self) -> int:
        memory = self._model.memory_state()
        return memory.slots_total - memory.slots_free
