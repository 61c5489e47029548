"""What a report says of the line: sums over its sequences, taken once for each report.

A report goes out with every step, so each list is walked once. Those of worse
classes stand behind those of better ones, and only they are walked for what
they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from replicas.engine.block_pool import BlockPool
from replicas.engine.line import Line
from replicas.engine.plan import context_of
from replicas.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class LineSums:
    """As of one moment."""

    # Known tokens still to be computed; of those that wait, less what was found or saved for them,
    # and of those that are held, less what is being copied for them.
    prefill_tokens_left: int
    prefill_context_left: int  # what they attend to: the tokens before each, summed up
    # Available blocks that the waiting ones will take; what others hold, they share.
    blocks_wanted: int
    # Of those in use or wanted, what is not of the best class; shared ones count for each.
    blocks_yielding: int
    # Of those in use, what no reservation, nobody held and nobody of a worse class would give up:
    # they come back only when somebody finishes, or moves away. What an interactive sequence
    # shares with one that yields counts as yielding.
    blocks_unreclaimable: int
    # Token slots in tables that hold nothing, and that no prefill under way will fill.
    slots_unused: int


def sums_of(line: Line, pool: BlockPool, *, block_size: int) -> LineSums:
    """Of the line as it stands."""
    tokens_left = context_left = filled = blocks_held = 0
    for sequence in line.running:
        computed, end = sequence.computed, sequence.prefill_end
        if computed < end:
            tokens_left += end - computed
            context_left += context_of(computed, end)
            computed = end
        filled += computed
        blocks_held += len(sequence.block_table)
    wanted = wanted_yielding = 0
    for sequence in line.waiting:
        found = sequence.in_place(sequence.found)
        tokens_left += sequence.length - found
        context_left += context_of(found, sequence.length)
        blocks = -(-sequence.length // block_size) - sequence.found_in_use
        wanted += blocks
        wanted_yielding += blocks if sequence.rank else 0
    yielding = sum(len(each.block_table) for each in takewhile(_yields, reversed(line.running)))
    kept = kept_yielding = 0
    for sequence in line.held:
        here = len(sequence.block_table)
        found = max(sequence.wanted, sequence.named) * block_size
        tokens_left += sequence.length - found
        context_left += context_of(found, sequence.length)
        blocks = -(-sequence.length // block_size) - (here or sequence.found_in_use)
        wanted += blocks
        wanted_yielding += blocks if sequence.rank else 0
        kept += here
        kept_yielding += here if sequence.rank else 0
    reserved = sum(len(each.block_table) for each in line.reserved)
    return LineSums(
        prefill_tokens_left=tokens_left,
        prefill_context_left=context_left,
        blocks_wanted=wanted,
        blocks_yielding=min(yielding + kept_yielding, pool.blocks_used) + wanted_yielding,
        blocks_unreclaimable=max(0, pool.blocks_used - yielding - reserved - kept),
        slots_unused=blocks_held * block_size - filled,
    )


def _yields(sequence: Sequence) -> bool:
    """To somebody interactive."""
    return sequence.rank > 0
