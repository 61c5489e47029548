"""Hypothesis plays clients, loops and operator of two engines, and shrinks what it breaks.

The same fleet as the random walk, with choices that Hypothesis can minimise:
submissions of all classes and deadlines with common prefixes, cancellations, moves broken
off at any stage, also in the middle of a step, hand-backs, warming, crashes,
cordons, and steps in any order, some of them several by one plan, some with
guesses. The runs are derandomized; at least two thousand steps are taken, fifty
of them by the plan of the step before, fifty sequences moved, and twenty paused.
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

from protos.messages import RefusalReason, Request, RequestClass, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from tests.property.engine.fleet import STAGES, Fleet
from tests.property.engine.shadow import World, card
from tests.property.engine.walk import DEADLINES_MS, TRUNK

STEPS_AT_LEAST = 2_000
REPEATED_AT_LEAST = 50
MOVED_AT_LEAST = 50
ACCEPTED_AT_LEAST = 30
REFUTED_AT_LEAST = 10
PAUSED_AT_LEAST = 20

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
numbers = st.integers(0, 99)
STEPS = ("a step of one", "a step of the other")
scripts = st.just(["copy", *STEPS, "commit"]) | st.lists(
    st.sampled_from([*STEPS, *STAGES]), max_size=6
)
worlds = st.integers(0, 1)
bounds = st.tuples(
    st.integers(0, 40),  # blocks to spare
    st.sampled_from([1, 3, 8, 64]),  # token budget
    st.sampled_from([3, 5]),  # sequences
    st.integers(0, 1),  # watermark
    st.sampled_from([0, 2]),  # headroom
    st.sampled_from([1, 5]),  # steps by a plan
    st.sampled_from([0, 4]),  # guesses
    st.sampled_from([0, 2, 40]),  # slots of the host
)


def has_clients(machine: EngineMachine) -> bool:
    """Whether somebody is being served somewhere."""
    return machine.fleet is not None and any(world.clients for world in machine.fleet.worlds)


def has_transfers(machine: EngineMachine) -> bool:
    """Whether a sequence is on its way."""
    return machine.fleet is not None and bool(machine.fleet.transfers)


class EngineMachine(RuleBasedStateMachine):
    """Anything that may be called, at any time it may be called."""

    steps_taken = 0  # over all examples, to prove that the machine is not idle
    repeated = 0
    moved = 0
    accepted = 0
    refuted = 0
    paused = 0

    def __init__(self) -> None:
        super().__init__()
        self.fleet: Fleet | None = None
        self.submitted = 0

    @property
    def running(self) -> Fleet:
        assert self.fleet is not None
        return self.fleet

    def pair(self, source: int) -> tuple[World, World]:
        """A world and the other one."""
        return self.running.worlds[source], self.running.worlds[1 - source]

    def pick(self, number: int) -> tuple[World, World, RequestId, int]:
        """A choice that is open somewhere, where it is, and the other world."""
        open_choices = [
            (*self.pair(index), request_id, choice)
            for index, world in enumerate(self.running.worlds)
            for request_id, client in world.clients.items()
            for choice in sorted(client.open)
        ]
        return open_choices[number % len(open_choices)]

    @initialize(block_size=st.sampled_from([1, 2, 3, 4, 16]), first=bounds, second=bounds)
    def start(
        self,
        block_size: int,
        first: tuple[int, int, int, int, int, int, int, int],
        second: tuple[int, int, int, int, int, int, int, int],
    ) -> None:
        self.fleet = Fleet(
            [
                EngineConfig(
                    card=card(block_size),
                    blocks_total=(36 + spare) // block_size + 2,
                    step_tokens_max=budget,
                    sequences_max=sequences,
                    waiting_max=4,
                    watermark_blocks=watermark,
                    headroom_blocks=headroom,
                    headroom_steps=8,
                    yielding_tokens_max=2,
                    patience_ms=20,
                    prompt_token_ns=budget * 100_000,
                    steps_max=steps,
                    guesses_max=guesses,
                    host_blocks=slots,
                    host_block_ns=budget * 100_000,  # less than to compute a full one again
                )
                for spare, budget, sequences, watermark, headroom, steps, guesses, slots in (
                    first,
                    second,
                )
            ]
        )

    @rule(
        world=worlds,
        prompt=prompts,
        sampling=params,
        choices=st.integers(1, 3),
        salt=st.sampled_from([b"", b"tenant"]),
        request_class=st.sampled_from(RequestClass),
        deadline_ms=st.sampled_from(DEADLINES_MS),
    )
    def submit(
        self,
        world: int,
        prompt: tuple[int, ...],
        sampling: SamplingParams,
        choices: int,
        salt: bytes,
        request_class: RequestClass,
        deadline_ms: int | None,
    ) -> None:
        request_id = RequestId(f"r{self.submitted}")
        self.submitted += 1
        refused = self.running.worlds[world].submit(
            Request(
                request_id=request_id,
                prompt=prompt,
                sampling=sampling,
                choices=choices,
                salt=salt,
                request_class=request_class,
                deadline_ms=deadline_ms,
            )
        )
        if refused is not None:
            assert refused.request_id == request_id
            assert refused.reason in (
                RefusalReason.NEVER_FITS,
                RefusalReason.QUEUE_FULL,
                RefusalReason.DRAINING,
            )

    @rule(
        world=worlds,
        crowd=st.lists(prompts, min_size=3, max_size=5),
        request_class=st.sampled_from(RequestClass),
        plans=st.integers(6, 20),
    )
    def crowd(
        self,
        world: int,
        crowd: list[tuple[int, ...]],
        request_class: RequestClass,
        plans: int,
    ) -> None:
        """Several that grow beyond the memory together, and begin to."""
        for seed, prompt in enumerate(crowd):
            sampling = SamplingParams(tokens_max=25, seed=seed)
            self.submit(world, prompt, sampling, 1, b"", request_class, None)
        self.run(world, plans)

    @rule(world=worlds, prompt=prompts, plans=st.integers(6, 20))
    def lone(self, world: int, prompt: tuple[int, ...], plans: int) -> None:
        """One by itself, as long as that lasts: its steps are alike."""
        if not self.running.worlds[world].clients:
            self.submit(
                world, prompt, SamplingParams(tokens_max=25), 1, b"", RequestClass.BATCH, None
            )
        self.run(world, plans, 6)

    @precondition(has_clients)
    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        world, _, request_id, _ = self.pick(number)
        world.cancel(request_id)

    @precondition(has_clients)
    @rule(number=numbers)
    def resume(self, number: int) -> None:
        world, _, request_id, _ = self.pick(number)
        world.resume(request_id)

    @precondition(has_clients)
    @rule(number=numbers)
    def hand_back(self, number: int) -> None:
        self.running.hand_back(*self.pick(number))

    @precondition(has_clients)
    @rule(number=numbers, steps=st.integers(1, 3), script=scripts)
    def begin_to_move(self, number: int, steps: int, script: list[str]) -> None:
        source, target, request_id, choice = self.pick(number)
        self.run(self.running.worlds.index(source), steps)
        if request_id in source.clients:
            self.running.begin(source, target, request_id, choice)
        for what in script:
            if what in STEPS:
                self.run(STEPS.index(what), 1)
            elif self.running.transfers:
                self.running.advance(self.running.transfers[-1], what)

    @precondition(has_transfers)
    @rule(number=numbers, what=st.sampled_from(STAGES))
    def advance(self, number: int, what: str) -> None:
        transfers = self.running.transfers
        self.running.advance(transfers[number % len(transfers)], what)

    @rule(source=worlds, limit=st.integers(1, 8))
    def warm(self, source: int, limit: int) -> None:
        self.running.warm(*self.pair(source), limit)

    @rule(world=worlds)
    def crash(self, world: int) -> None:
        self.running.crash(self.running.worlds[world])

    @rule(world=worlds)
    def cancel_a_stranger(self, world: int) -> None:
        self.running.worlds[world].cancel(RequestId("nobody"))

    @rule(world=worlds, plans=st.integers(1, 12), steps=st.integers(1, 6))
    def run(self, world: int, plans: int, steps: int = 1) -> None:
        running = self.running.worlds[world]
        if running.is_mid_step:
            running.apply(steps)
        for _ in range(plans):
            if running.schedule():
                running.apply(steps)

    @rule(world=worlds)
    def begin_step(self, world: int) -> None:
        running = self.running.worlds[world]
        if not running.is_mid_step:
            running.schedule()

    @precondition(lambda self: self.submitted > 6)
    @rule(world=worlds)
    def cordon(self, world: int) -> None:
        self.running.worlds[world].engine.drain()

    @rule(world=worlds)
    def open(self, world: int) -> None:
        self.running.worlds[world].engine.open()

    def teardown(self) -> None:
        if self.fleet is not None:
            self.fleet.finish()
            EngineMachine.steps_taken += sum(world.steps for world in self.fleet.worlds)
            EngineMachine.repeated += sum(world.repeated for world in self.fleet.worlds)
            EngineMachine.moved += self.fleet.moved
            for counters in (world.snapshot.counters for world in self.fleet.worlds):
                EngineMachine.accepted += counters.accepted_tokens
                EngineMachine.refuted += counters.guessed_tokens - counters.accepted_tokens
                EngineMachine.paused += counters.pauses


def test_no_order_of_calls_finds_a_wrong_token() -> None:
    EngineMachine.steps_taken = EngineMachine.repeated = EngineMachine.moved = 0
    EngineMachine.accepted = EngineMachine.refuted = 0
    EngineMachine.paused = 0
    run_state_machine_as_test(
        EngineMachine,
        settings=settings(
            max_examples=250,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
    assert EngineMachine.steps_taken >= STEPS_AT_LEAST
    assert EngineMachine.repeated >= REPEATED_AT_LEAST
    assert EngineMachine.moved >= MOVED_AT_LEAST
    assert EngineMachine.accepted >= ACCEPTED_AT_LEAST
    assert EngineMachine.refuted >= REFUTED_AT_LEAST
    assert EngineMachine.paused >= PAUSED_AT_LEAST
