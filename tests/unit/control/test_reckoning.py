"""What waits at a replica of which only old reports come."""

from __future__ import annotations

from orchestrator.control.reckoning import Reckoning

SECOND = 1_000_000_000
LAG = 10 * SECOND
RATE = 1_000.0


def test_a_queue_grows_by_placements_and_shrinks_by_time() -> None:
    reckoning = Reckoning()
    reckoning.place(3_000, SECOND)
    reckoning.place(2_000, 2 * SECOND)
    assert reckoning.tokens_ahead(RATE, 2 * SECOND) == 4_000
    assert reckoning.tokens_ahead(RATE, 5 * SECOND) == 1_000
    assert reckoning.tokens_ahead(RATE, 60 * SECOND) == 0


def test_an_empty_queue_does_not_work_ahead() -> None:
    reckoning = Reckoning()
    reckoning.place(1_000, 0)
    reckoning.place(2_000, 30 * SECOND)
    assert reckoning.tokens_ahead(RATE, 30 * SECOND) == 2_000


def test_a_report_is_of_the_moment_at_which_it_was_made() -> None:
    """It knows what was placed before that, and nothing of what was placed after."""
    reckoning = Reckoning()
    reckoning.place(500, 5 * SECOND)
    reckoning.place(4_000, 15 * SECOND)
    reckoning.report(9_000, 20 * SECOND, LAG)
    assert reckoning.tokens_ahead(RATE, 20 * SECOND) == 9_000 - 10_000 + 1_000 + 4_000 - 1_000 + 0


def test_a_first_token_tells_that_who_came_before_was_served() -> None:
    reckoning = Reckoning()
    for second in range(3):
        reckoning.place(8_000, second * SECOND)
    reckoning.begin(SECOND, 3 * SECOND)
    assert reckoning.tokens_ahead(RATE, 3 * SECOND) == 8_000
    reckoning.report(99_000, 4 * SECOND, LAG)  # made before that token
    assert reckoning.tokens_ahead(RATE, 4 * SECOND) == 7_000


def test_what_is_ahead_belongs_to_the_last_prompts() -> None:
    reckoning = Reckoning()
    for tokens in (3_000, 2_000, 1_000):
        reckoning.place(tokens, SECOND)
    assert [reckoning.prompts_ahead(n) for n in (0, 1, 1_000, 1_001, 3_001, 9_000)] == [
        *(0, 1, 1, 2, 3, 3)
    ]
