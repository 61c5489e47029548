"""The four memory models, built alike: same slots, same budget, same bounds.

They differ in nothing but where a sequence's KV lies and who may read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.sim.incident.contiguous_engine import (
    ContiguousConfig,
    ContiguousEngine,
    Failure,
)
from orchestrator.sim.incident.memory import MemoryState
from orchestrator.sim.incident.paged import PagedEngine
from orchestrator.sim.incident.workload import Asking
from orchestrator.sim.loop import NS_PER_S
from orchestrator.workload.traffic import Arrival
from protos.messages import Delta, ModelCard
from replicas.engine.config import EngineConfig
from replicas.engine.plan import StepOutcome, StepPlan


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """One replica. Blocks and bounds are the defaults of the simulated cluster's replicas."""

    blocks: int = 4000
    block_size: int = 16
    step_tokens_max: int = 256  # the engine's own default
    sequences_max: int = 256
    # How long the head of the line is tried again before it fails: contiguous memory only.
    patience_ns: int = NS_PER_S // 4
    check_every_steps: int = 1000

    @property
    def slots(self) -> int:
        """The memory, in token slots."""
        return self.blocks * self.block_size


class MemoryModel(Protocol):
    """An engine over one kind of memory."""

    def prepare(self) -> Iterator[StepPlan]:
        """Steps to compute before anybody comes."""
        ...

    def submit(self, arrival: Arrival) -> None: ...

    def schedule(self, now_ns: int) -> StepPlan | None: ...

    def apply(self, outcome: StepOutcome) -> tuple[Delta, ...]: ...

    def take_failures(self) -> tuple[Failure, ...]: ...

    def memory_state(self) -> MemoryState: ...

    def preemptions(self) -> int: ...

    def check(self) -> None: ...


class Contiguous:
    """Models 1 and 2."""

    def __init__(self, pool: PoolConfig, asking: Asking, *, prefix: tuple[int, ...]) -> None:
        self._asking = asking
        self._engine = ContiguousEngine(
            ContiguousConfig(
                blocks_total=pool.blocks,
                block_size=pool.block_size,
                step_tokens_max=pool.step_tokens_max,
                sequences_max=pool.sequences_max,
                patience_ns=pool.patience_ns,
                prefix=prefix,
            )
        )

    def prepare(self) -> Iterator[StepPlan]:
        return self._engine.prepare()

    def submit(self, arrival: Arrival) -> None:
        self._engine.submit(self._asking.request(arrival))

    def schedule(self, now_ns: int) -> StepPlan | None:
        return self._engine.schedule(now_ns)

    def apply(self, outcome: StepOutcome) -> tuple[Delta, ...]:
        return self._engine.apply(outcome)

    def take_failures(self) -> tuple[Failure, ...]:
        return self._engine.take_failures()

    def memory_state(self) -> MemoryState:
        return self._engine.memory_state()

    def preemptions(self) -> int:
        return 0  # a sequence owns its run to the end

    def check(self) -> None:
        self._engine.check()


class Paged:
    """Models 3 and 4: the production engine."""

    def __init__(
        self, pool: PoolConfig, asking: Asking, *, salt_of: Callable[[Arrival], bytes]
    ) -> None:
        self._asking = asking
        self._salt_of = salt_of
        card = ModelCard(
            name="incident",
            revision="",
            dtype="",
            block_size=pool.block_size,
            context_tokens_max=asking.sizes.sequence_max,
            vocab_size=asking.stop_token + 1,
        )
        self._engine = PagedEngine(
            EngineConfig(
                card=card,
                blocks_total=pool.blocks,
                step_tokens_max=pool.step_tokens_max,
                sequences_max=pool.sequences_max,
                waiting_max=1_000_000,  # as the contiguous line: it takes whatever comes
            )
        )

    def prepare(self) -> Iterator[StepPlan]:
        return iter(())  # a prefix is computed by whoever comes first

    def submit(self, arrival: Arrival) -> None:
        request = self._asking.request(arrival, salt=self._salt_of(arrival))
        refusal = self._engine.submit(request)
        assert refusal is None, f"r{arrival.number} was refused: {refusal}"

    def schedule(self, now_ns: int) -> StepPlan | None:
        plan = self._engine.schedule()
        self._engine.block_events()  # nobody listens
        return plan

    def apply(self, outcome: StepOutcome) -> tuple[Delta, ...]:
        deltas = self._engine.apply(outcome)
        self._engine.block_events()
        return deltas

    def take_failures(self) -> tuple[Failure, ...]:
        return ()  # the engine knows no such thing: what it takes, it finishes

    def memory_state(self) -> MemoryState:
        return self._engine.memory_state()

    def preemptions(self) -> int:
        return self._engine.preemptions

    def check(self) -> None:
        self._engine.check()


MODELS: Mapping[str, Callable[[PoolConfig, Asking], MemoryModel]] = {
    "contiguous": lambda pool, asking: Contiguous(pool, asking, prefix=()),
    "contiguous+prefix": lambda pool, asking: Contiguous(
        pool, asking, prefix=asking.wording.prefix
    ),
    "paged": lambda pool, asking: Paged(
        pool, asking, salt_of=lambda arrival: b"%d" % arrival.number
    ),
    "paged+sharing": lambda pool, asking: Paged(pool, asking, salt_of=lambda arrival: b""),
}
