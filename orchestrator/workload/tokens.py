"""Made-up tokens that can be checked: prompts from names, completions from prompts.

A prompt block of a trace is known by an id alone. It becomes tokens that begin
with the id itself, so that two ids never share a block, and go on with a
stretch of a fixed table, so that making a million of them costs little.

A completion's next token is a pure function of the request's seed, the last
token and the position. Whoever knows the request can therefore foretell the
whole completion: a token that was lost, repeated or altered on the way shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

from protos.messages import Request, SampledToken

VOCAB_BITS = 15
VOCAB_SIZE = 1 << VOCAB_BITS
_MASK = VOCAB_SIZE - 1
_ID_TOKENS = 3  # hold ids below 2**45
BLOCK_SIZE_MIN = _ID_TOKENS
_WORD = 0xFFFFFFFF
_SEED, _LAST, _POSITION = 2_654_435_761, 40_503, 2_246_822_519  # how a token depends on each
# Slices of one table share its int objects: a prompt costs pointers, not ints.
_TABLE = tuple(range(VOCAB_SIZE)) * 2


def block_tokens(block_id: int, size: int) -> tuple[int, ...]:
    """The tokens of the block with this id; of no other one. Sizes up to the vocabulary's."""
    assert BLOCK_SIZE_MIN <= size <= VOCAB_SIZE and 0 <= block_id < 1 << _ID_TOKENS * VOCAB_BITS
    start = block_id * 40_503 & _MASK
    return (
        block_id & _MASK,
        block_id >> VOCAB_BITS & _MASK,
        block_id >> 2 * VOCAB_BITS,
        *_TABLE[start : start + size - _ID_TOKENS],
    )


def next_token(seed: int, last: int, position: int) -> int:
    """The token at `position` of a request with this seed, after the token `last`."""
    mixed = (seed * _SEED + last * _LAST + position * _POSITION) & _WORD
    return (mixed ^ mixed >> 15) & _MASK


def completion(request: Request, count: int) -> tuple[int, ...]:
    """The first `count` tokens that the request's first choice must get."""
    prompt = request.prompt
    return tuple(islice(tokens_after(request.sampling.seed, prompt[-1], len(prompt)), count))


def tokens_after(seed: int, last: int, position: int) -> Iterator[int]:
    """The token at `position` after the token `last`, and all that follow it.

    As `next_token` again and again, but without a call for each.
    """
    part = seed * _SEED + position * _POSITION
    while True:
        mixed = (part + last * _LAST) & _WORD
        last = (mixed ^ mixed >> 15) & _MASK
        yield last
        part += _POSITION


@cache  # bounded by the vocabulary
def sampled(token: int) -> SampledToken:
    """The one object for this token."""
    return SampledToken(token)
