"""What a report says of blocks beyond their number: shared, kept from others, half empty.

Blocks of 4 tokens throughout.
"""

from __future__ import annotations

from protos.messages import RequestClass
from tests.unit.engine.driver import A, B, C, engine, report, request, step

AGENT = RequestClass.AGENT
LONG = tuple(range(100, 109))  # two full blocks and one token


def test_a_block_counts_as_shared_from_its_second_table_to_its_last_but_one() -> None:
    subject = engine()
    subject.submit(request(A, prompt=LONG))
    step(subject)
    assert report(subject).blocks_shared == 0
    subject.submit(request(B, prompt=LONG))
    subject.submit(request(C, prompt=LONG))
    step(subject)
    assert report(subject).blocks_shared == 2
    subject.cancel(A)
    assert report(subject).blocks_shared == 2
    subject.cancel(B)
    assert report(subject).blocks_shared == 0


def test_what_interactive_sequences_hold_cannot_be_reclaimed() -> None:
    subject = engine()
    subject.submit(request(A, prompt=LONG))
    subject.submit(request(B, prompt=(900, 901, 902, 903, 904), request_class=AGENT))
    step(subject)
    assert report(subject).blocks_used == 3 + 2
    assert report(subject).blocks_unreclaimable == 3


def test_a_reservation_can_be_reclaimed() -> None:
    subject = engine()
    subject.reserve(request(A, prompt=LONG), computed=0)
    shown = report(subject)
    assert (shown.blocks_used, shown.blocks_unreclaimable) == (3, 0)


def test_unused_slots_are_those_behind_the_last_token_of_each_table() -> None:
    """Power: without what a prefill will fill, the first step of the long prompt shows 8."""
    subject = engine(budget=4)
    subject.submit(request(A, prompt=LONG, tokens_max=8))
    shown = []
    for _ in range(7):
        step(subject)
        shown.append(report(subject).slots_unused)
    # Three steps of prefill, the last with the first output, whose KV comes a step later.
    assert shown == [3, 3, 3, 2, 1, 0, 3]


def test_shared_blocks_are_full_and_add_no_unused_slots() -> None:
    subject = engine()
    subject.submit(request(A, prompt=LONG))
    step(subject)
    subject.submit(request(B, prompt=LONG))
    step(subject)
    assert report(subject).blocks_used == 4
    assert report(subject).slots_unused == 2 + 3
