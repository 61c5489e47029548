"""How long an answer may get when nobody asked for a length.

A replica refuses what its whole pool could not hold at its greatest possible
length. So the length that a client leaves open is cut to what certainly fits
wherever the request is placed: on the smallest replica that can hold its
prompt. Replicas of one cluster are alike, so that this costs little.

The count of blocks is the engine's (replicas/engine/refusals.py), solved for
the tokens: full prompt blocks are shared by all choices, and the token that
is sampled last needs no slot.
"""

from __future__ import annotations

from collections.abc import Iterable


def tokens_room(
    pools: Iterable[int], *, prompt_tokens: int, choices: int, block_size: int
) -> int | None:
    """Tokens that each choice may have on every replica that can hold the prompt.

    `pools` are the replicas' total blocks. None: no replica can hold it.
    """
    rooms = [
        tokens_room_in(pool, prompt_tokens=prompt_tokens, choices=choices, block_size=block_size)
        for pool in pools
        if prompt_tokens <= pool * block_size
    ]
    return min(rooms, default=None)


def tokens_room_in(blocks_total: int, *, prompt_tokens: int, choices: int, block_size: int) -> int:
    """The most tokens for each choice in one pool that holds the prompt; one always fits."""
    shared = prompt_tokens // block_size
    each = (blocks_total - shared) // choices
    return max(1, (shared + each) * block_size - prompt_tokens + 1)
