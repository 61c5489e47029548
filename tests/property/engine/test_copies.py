"""Hypothesis plays two engines between which prefixes are copied, besides all that they do.

A request is held at one engine while some of its blocks come from the other: in
parts, in the middle of everything, not at all, or given up at any moment, while it
is cancelled, overdue, handed back, or others need the memory.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from protos.messages import RequestId
from tests.property.engine.test_machine import EngineMachine, has_clients, numbers

COPIED_AT_LEAST = 25
HELD_AT_LEAST = 25


def has_fetches(machine: CopyMachine) -> bool:
    """Whether somebody waits for blocks."""
    return machine.fleet is not None and bool(machine.fleet.fetches)


class CopyMachine(EngineMachine):
    """The same, and requests that wait for blocks."""

    copied = 0
    held = 0

    @precondition(has_clients)
    @rule(
        number=numbers,
        steps=st.integers(1, 12),
        blocks=st.sampled_from([1, 99]),
        brings=st.lists(st.sampled_from([1, 2, 99]), max_size=2),
    )
    def ask_elsewhere(self, number: int, steps: int, blocks: int, brings: list[int]) -> None:
        """The same prompt at the other engine, which may copy what this one has computed."""
        source, target, request_id, _ = self.pick(number)
        request = replace(
            source.clients[request_id].request,
            request_id=RequestId(f"r{self.submitted}"),
            output=(),
            first_choice=0,
        )
        self.submitted += 1
        self.run(self.running.worlds.index(source), steps)
        held = len(self.running.fetches)
        self.running.submit(source, target, request, blocks)
        for count in brings:
            if len(self.running.fetches) > held:
                self.running.fetch(self.running.fetches[-1], count)

    @precondition(has_fetches)
    @rule(number=numbers, count=st.sampled_from([0, 1, 2, 99, 99]))
    def fetch(self, number: int, count: int) -> None:
        fetches = self.running.fetches
        self.running.fetch(fetches[number % len(fetches)], count)

    def teardown(self) -> None:
        if self.fleet is not None:
            CopyMachine.copied += self.fleet.copied
            CopyMachine.held += self.fleet.held
        super().teardown()


def test_no_order_of_calls_and_copies_finds_a_wrong_token() -> None:
    CopyMachine.copied = CopyMachine.held = 0
    run_state_machine_as_test(
        CopyMachine,
        settings=settings(
            max_examples=140,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
    assert CopyMachine.copied >= COPIED_AT_LEAST
    assert CopyMachine.held >= HELD_AT_LEAST
