"""Let decodes guess what they say next, with what is left of a step's budget.

A guess takes nothing from anybody: neither a block, as it goes to slots that the
sequence has already, nor a token of the budget that a decode or a prompt could
use. It only makes the step longer, by about what a token of a prompt takes.

Whoever is bound by a grammar guesses nothing: matchers would have to follow what
may be no sentence at all, and back.
"""

from __future__ import annotations

from dataclasses import replace

from replicas.engine.draft import Draft
from replicas.engine.sequence import Sequence


def add_guesses(draft: Draft, guesses_max: int) -> None:
    """To each decode of a drafted step, at most so many; those first in the line go first."""
    budget = draft.budget
    for index, sequence in enumerate(draft.sequences):
        limit = min(guesses_max, budget, guesses_most(sequence))
        guesses = sequence.guesses(limit) if limit > 0 else ()
        if guesses:
            row = draft.rows[index]
            draft.rows[index] = replace(row, tokens=(*row.tokens, *guesses), guesses=len(guesses))
            budget -= len(guesses)


def guesses_most(sequence: Sequence) -> int:
    """As many as it can use beside the token that it feeds; may be none or fewer."""
    if sequence.is_prefilling or sequence.request.sampling.grammar:
        return 0
    return min(sequence.slots_left, sequence.tokens_left) - 1
