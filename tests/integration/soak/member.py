"""One engine with the real runner, as a replica has them, without threads or network.

After each step it proves its invariants. What it says goes to whoever listens;
between two steps sequences may leave it or come to it.
"""

from __future__ import annotations

from collections.abc import Callable

from protos.messages import Delta, ReplicaId, Snapshot
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.step_times import StepTimes
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner


class Member:
    """An engine and the memory that it decides about."""

    def __init__(self, name: str, model: LoadedModel, config: EngineConfig) -> None:
        self.name = name
        self.engine = Engine(config)
        self.runner = TorchRunner(
            model,
            blocks_total=config.blocks_total,
            block_size=config.card.block_size,
            host_blocks=config.host_blocks,
        )
        self.steps = 0

    @property
    def snapshot(self) -> Snapshot:
        return self.engine.snapshot(
            replica_id=ReplicaId(self.name), epoch=1, number=1, times=StepTimes()
        )

    def step(self, meanwhile: Callable[[], None]) -> tuple[Delta, ...]:
        """One step, during which something else may happen to the engine; none without work."""
        plan = self.engine.schedule()
        self.engine.check()
        if plan is None:
            meanwhile()
            return ()
        outcome = self.runner.run(plan)
        meanwhile()
        deltas = self.engine.apply(outcome)
        self.engine.block_events()
        self.engine.check()
        self.steps += 1
        return deltas

    def check_empty(self) -> None:
        """Assert that nothing is left: no sequence, and no block that is in use or kept for it."""
        self.engine.check()
        assert self.engine.is_idle, f"{self.name} still has work"
        left = self.snapshot
        assert left.blocks_used == 0, f"{self.name} has lost {left.blocks_used} blocks"
        assert left.host_blocks_used == 0, f"{self.name} keeps {left.host_blocks_used} blocks"
        assert left.blocks_free + left.blocks_cached == left.blocks_total
