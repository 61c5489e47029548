"""How many steps in a row the scheduler would plan alike, but for their tokens.

Between two plans it looks for four things: newcomers, room, who has finished,
and whose turn it is. When everybody here decodes, none of these can change by
itself before the first one needs another block or reaches its bound of tokens:
nobody waits for room or for blocks to come, nobody's prompt shares the steps, and
nothing that is chosen ends an answer. No block is taken ahead, so meanwhile nothing
is evicted, found or reported that would not be otherwise. What comes from outside,
a submission, a cancellation, a move, makes whoever repeats the plan stop at the end
of a step (`Executor`).
"""

from __future__ import annotations

from replicas.engine.draft import Draft
from replicas.engine.line import Line
from replicas.engine.sequence import Sequence


def steps_alike(draft: Draft, line: Line, *, limit: int) -> int:
    """Of this drafted step and those behind it; 1 where the next one may be another."""
    others = line.waiting or line.held or line.reserved
    # A mark is on whoever was admitted or preempted, or computes its prompt.
    if others or draft.marks or draft.copies or len(draft.rows) < len(line.running):
        return 1
    if any(map(_may_stop, draft.sequences)) or any(row.guesses for row in draft.rows):
        return 1
    return min((limit, *(min(each.tokens_left, each.slots_left) for each in draft.sequences)))


def _may_stop(sequence: Sequence) -> bool:
    """Whether the token that it gets may be its last one, whichever it is."""
    params = sequence.request.sampling
    return bool(params.stop_token_ids or params.grammar)
