"""What must hold in every simulated world, whatever its seed.

- *Engines*: every invariant of `Engine.check`, each so many steps and at the
  end, when nothing may be left running and no block in use.
- *Answers*: every request ends, answered or refused with a reason; an answer
  has exactly the tokens that were asked for, and they are the right ones.
- *Registry*: at the end it believes of each replica what the replica says
  itself. Its bound is checked at every batch (watched_registry.py).

A broken rule is an AssertionError, which ends the world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from orchestrator.sim.client import Answered, Outcome, Refused
from orchestrator.sim.replica import SimReplica
from orchestrator.sim.watched_registry import WatchedRegistry
from orchestrator.workload.tokens import completion
from orchestrator.workload.traffic import Traffic
from protos.messages import FinishReason, Request, Standing
from replicas.engine.engine import Engine

# What a gateway says when tokens do not add up: never the world's fault.
BROKEN_STREAM = "stream_broken"


class Checkers:
    """Looks at a world while it runs. Rare looks keep a long run fast."""

    def __init__(
        self,
        *,
        every_steps: int = 1,
        every_answers: int = 1,
        expected: Callable[[Request, int], tuple[int, ...]] = completion,
    ) -> None:
        self._expected = expected
        self._every_steps = every_steps
        self._every_answers = every_answers
        self._steps = 0

    def after_step(self, engine: Engine) -> None:
        """Now and then, an engine between two of its steps."""
        self._steps += 1
        if self._steps % self._every_steps == 0:
            engine.check()

    def after_request(self, number: int, request: Request, outcome: Outcome) -> None:
        """Whether the client got what it asked for, or a reason."""
        match outcome:
            case Answered():
                self._check_answer(number, request, outcome)
            case Refused(code=code):
                assert code, f"{request.request_id} was refused without a reason"
                assert code != BROKEN_STREAM, f"{request.request_id}: {code}"

    def at_end(
        self,
        traffic: Traffic,
        outcomes: Sequence[Outcome],
        replicas: Iterable[SimReplica],
        registry: WatchedRegistry,
    ) -> None:
        """Everything was asked, everything has ended, and nothing is left behind."""
        asked = sorted(arrival.number for arrival in traffic.arrivals)
        assert sorted(outcome.number for outcome in outcomes) == asked, "a request has no end"
        for replica in replicas:
            check_rest(replica)
            check_registry(replica, registry)

    def _check_answer(self, number: int, request: Request, answer: Answered) -> None:
        count = request.sampling.tokens_max
        label = request.request_id
        assert answer.finish is FinishReason.LENGTH, f"{label} ended with {answer.finish}"
        assert len(answer.tokens) == count, f"{label} got {len(answer.tokens)} of {count} tokens"
        if number % self._every_answers == 0:
            assert answer.tokens == self._expected(request, count), f"{label} got other tokens"


def is_settled(replica: SimReplica, registry: WatchedRegistry) -> bool:
    """Whether nothing is on its way any more."""
    believed = registry.believed(replica.record.replica_id)
    return replica.engine.is_idle and believed == set(replica.engine.inventory())


def check_rest(replica: SimReplica) -> None:
    """A replica without work holds no block for anybody."""
    name = replica.record.replica_id
    assert replica.engine.is_idle, f"{name} still has work"
    standing = replica.reported.door.standing
    assert standing is Standing.OPEN, f"{name} is {standing.value}, and nobody wants it so"
    replica.engine.check()
    used = replica.snapshot().blocks_used
    assert used == 0, f"{name} is idle and {used} of its blocks are in use"


def check_registry(replica: SimReplica, registry: WatchedRegistry) -> None:
    """Once everything was published, the registry believes what the replica says."""
    name = replica.record.replica_id
    believed, held = registry.believed(name), set(replica.engine.inventory())
    assert believed == held, (
        f"the registry believes {name} to hold {len(believed - held)} blocks that it does not"
        f" hold, and misses {len(held - believed)}"
    )
