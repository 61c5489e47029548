"""Hypothesis plays client, scheduler loop and operator at once, and shrinks what it breaks.

The same world as the random walk, with choices that Hypothesis can minimise:
submissions with common prefixes, cancellations and resumptions also in the
middle of a step, crashes, a drain, and steps in any order. The runs are
derandomized; at least two thousand steps are taken.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from protos.messages import RefusalReason, Request, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from tests.property.engine.shadow import World, card
from tests.property.engine.walk import TRUNK

STEPS_AT_LEAST = 2_000

params = st.builds(
    SamplingParams,
    tokens_max=st.integers(2, 30) | st.just(99),  # also beyond the context
    tokens_min=st.integers(0, 2),
    seed=st.integers(0, 2),
    stop_token_ids=st.sampled_from([(), (5,), (1, 5)]),
)
prompts = st.builds(
    lambda common, tail: TRUNK[:common] + tuple(tail),
    st.integers(1, 20),
    st.lists(st.integers(0, 2), max_size=3),
)


class EngineMachine(RuleBasedStateMachine):
    """Anything that may be called, at any time it may be called."""

    steps_taken = 0  # over all examples, to prove that the machine is not idle

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.submitted = 0

    @property
    def running(self) -> World:
        assert self.world is not None
        return self.world

    @initialize(
        block_size=st.sampled_from([1, 2, 3, 4, 16]),
        spare=st.integers(0, 8),
        budget=st.sampled_from([1, 3, 8, 64]),
        sequences=st.sampled_from([3, 5]),
        watermark=st.integers(0, 1),
    )
    def start(
        self, block_size: int, spare: int, budget: int, sequences: int, watermark: int
    ) -> None:
        self.world = World(
            EngineConfig(
                card=card(block_size),
                blocks_total=36 // block_size + spare + 1,
                step_tokens_max=budget,
                sequences_max=sequences,
                waiting_max=4,
                watermark_blocks=watermark,
            )
        )

    @rule(
        prompt=prompts,
        sampling=params,
        choices=st.integers(1, 3),
        salt=st.sampled_from([b"", b"tenant"]),
    )
    def submit(
        self, prompt: tuple[int, ...], sampling: SamplingParams, choices: int, salt: bytes
    ) -> None:
        request_id = RequestId(f"r{self.submitted}")
        self.submitted += 1
        refused = self.running.submit(Request(request_id, prompt, sampling, choices, salt))
        if refused is not None:
            assert refused.request_id == request_id
            assert refused.reason in (
                RefusalReason.NEVER_FITS,
                RefusalReason.QUEUE_FULL,
                RefusalReason.DRAINING,
            )

    @precondition(lambda self: self.world is not None and self.world.clients)
    @rule(pick=st.integers(0, 99))
    def cancel(self, pick: int) -> None:
        ids = list(self.running.clients)
        self.running.cancel(ids[pick % len(ids)])

    @precondition(lambda self: self.world is not None and self.world.clients)
    @rule(pick=st.integers(0, 99))
    def move(self, pick: int) -> None:
        ids = list(self.running.clients)
        self.running.move(ids[pick % len(ids)])

    @rule()
    def crash(self) -> None:
        self.running.crash()

    @rule()
    def cancel_a_stranger(self) -> None:
        self.running.cancel(RequestId("nobody"))

    @precondition(lambda self: self.world is not None and not self.world.is_mid_step)
    @rule(steps=st.integers(1, 12))
    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.running.schedule():
                self.running.apply()

    @precondition(lambda self: self.world is not None and not self.world.is_mid_step)
    @rule()
    def schedule(self) -> None:
        self.running.schedule()

    @precondition(lambda self: self.world is not None and self.world.is_mid_step)
    @rule()
    def apply(self) -> None:
        self.running.apply()

    @precondition(lambda self: self.submitted > 12)
    @rule()
    def drain(self) -> None:
        self.running.engine.drain()

    def teardown(self) -> None:
        if self.world is not None:
            self.world.finish()
            EngineMachine.steps_taken += self.world.steps


def test_no_order_of_calls_finds_a_wrong_token() -> None:
    EngineMachine.steps_taken = 0
    run_state_machine_as_test(
        EngineMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert EngineMachine.steps_taken >= STEPS_AT_LEAST
