"""Drive the real engine and runner step by step, and keep what each step was and took."""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import Request
from replicas.bench.floor import Stretch
from replicas.bench.machine import clock_ns
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.plan import Row
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner

STEP_TOKENS_MAX = 256  # as a replica's engine where nothing else is said


@dataclass(frozen=True, slots=True)
class TimedStep:
    """One step: its rows, and the time of all of it and of the forward pass in it."""

    rows: tuple[Row, ...]
    total_ns: int
    forward_ns: int

    @property
    def host_ns(self) -> int:
        """Everything but the model: scheduling, layout, sampling, taking the outcome."""
        return self.total_ns - self.forward_ns

    @property
    def is_decode(self) -> bool:
        """Whether every row has one token and gets another."""
        return all(len(row.tokens) == 1 and row.samples for row in self.rows)

    def stretches(self) -> list[Stretch]:
        """The rows as what a floor is computed from."""
        return [Stretch(len(row.tokens), row.start, bool(row.samples)) for row in self.rows]


class Stopwatch:
    """An engine with a pool of its own. Runs requests to their end, or steps to a number."""

    def __init__(
        self, model: LoadedModel, *, blocks_total: int, block_size: int, sequences_max: int
    ) -> None:
        self._engine = Engine(
            EngineConfig(
                card=model.card(block_size),
                blocks_total=blocks_total,
                step_tokens_max=STEP_TOKENS_MAX,
                sequences_max=sequences_max,
            )
        )
        self._runner = TorchRunner(
            model, blocks_total=blocks_total, block_size=block_size, clock_ns=clock_ns
        )

    def run(self, requests: list[Request]) -> list[TimedStep]:
        """Submit all at once and step until none is left."""
        for request in requests:
            refused = self._engine.submit(request)
            assert refused is None, refused
        steps = []
        while not self._engine.is_idle:
            steps.append(self._step())
        return steps

    def _step(self) -> TimedStep:
        began_ns = clock_ns()
        plan = self._engine.schedule()
        assert plan is not None, "work is left but nothing is planned"
        self._engine.apply(self._runner.run(plan))
        self._engine.block_events()
        return TimedStep(plan.rows, clock_ns() - began_ns, self._runner.forward_ns)
