from __future__ import annotations

from dataclasses import astuple

import pytest

from replicas.engine.sequence import Sequence
from replicas.engine.tally import Tally
from tests.unit.engine.driver import card, request


@pytest.mark.parametrize(
    ("computed", "recomputed_end", "tokens", "prefill", "recomputed", "decode"),
    [
        (0, 0, 6, 6, 0, 0),
        (4, 0, 2, 2, 0, 0),
        (6, 0, 1, 0, 0, 1),
        (0, 3, 6, 3, 3, 0),  # preempted in its prefill
        (0, 8, 9, 0, 8, 1),  # preempted as a decode: the last token is fed for the first time
        (4, 8, 5, 0, 4, 1),  # and found its own first block again
        (8, 4, 1, 0, 0, 1),
    ],
)
def test_each_token_counts_once_as_what_it_was(
    computed: int, recomputed_end: int, tokens: int, prefill: int, recomputed: int, decode: int
) -> None:
    sequence = Sequence(request(prompt=6), card().scope(), 4, arrival=0, output_max=9)
    sequence.computed, sequence.recomputed_end = computed, recomputed_end
    tally = Tally()
    tally.add_computed(sequence, tokens)
    assert (
        tally.counters()
        == Tally(
            prefill_tokens=prefill, recomputed_tokens=recomputed, decode_tokens=decode
        ).counters()
    )
    assert sum(astuple(tally)) == tokens


def test_guesses_and_those_that_were_said_add_up() -> None:
    tally = Tally()
    tally.add_guesses(4, accepted=4)
    tally.add_guesses(3, accepted=0)
    counters = tally.counters()
    assert (counters.guessed_tokens, counters.accepted_tokens) == (7, 4)
    assert counters.decode_tokens == 0, "they are counted as what they are when they are fed"


def test_output_that_a_request_resumes_with_is_prefilled_and_counts_as_prompt() -> None:
    asked = request(prompt=6, output=(7, 7, 7), tokens_max=9)
    sequence = Sequence(asked, card().scope(), 4, arrival=0, output_max=9, output=[7, 7, 7])
    tally = Tally()
    tally.add_admission(sequence)
    tally.add_computed(sequence, 9)
    sequence.computed = 9
    tally.add_computed(sequence, 1)
    counters = tally.counters()
    assert (counters.prompt_tokens, counters.prefill_tokens, counters.decode_tokens) == (9, 9, 1)
