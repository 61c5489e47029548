"""What must hold in every simulated world, whatever its seed.

- *Engines*: every invariant of `Engine.check`, each so many steps and at the
  end, when nothing may be left running and no block in use.
- *Answers*: every request ends, answered or refused with a reason; an answer
  has exactly the tokens that were asked for, and they are the right ones.
- *Rest*: at the end nobody keeps anything of what was asked, and the registry
  believes of each replica what it says itself (rest.py). The registry's bound
  is checked at every batch (watched_registry.py).

A broken rule is an AssertionError, which ends the world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.sim.client import Answered, Outcome, Refused
from orchestrator.sim.rest import Rest
from orchestrator.workload.tokens import completion
from orchestrator.workload.traffic import Traffic
from protos.messages import FinishReason, Request
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
        rest: Rest,
    ) -> None:
        """Everything was asked, everything has ended, and nothing is left behind."""
        asked = sorted(arrival.number for arrival in traffic.arrivals)
        assert sorted(outcome.number for outcome in outcomes) == asked, "a request has no end"
        for check in rest.checks():
            check()

    def _check_answer(self, number: int, request: Request, answer: Answered) -> None:
        count = request.sampling.tokens_max
        label = request.request_id
        assert answer.finish is FinishReason.LENGTH, f"{label} ended with {answer.finish}"
        assert len(answer.tokens) == count, f"{label} got {len(answer.tokens)} of {count} tokens"
        if number % self._every_answers == 0:
            assert answer.tokens == self._expected(request, count), f"{label} got other tokens"
