"""What a poisonous prompt looks like, in the tokens of a byte-level model.

Replicas of chaos clusters, and only those, die of it (launcher.py). The bait is
repeated until some step of a chunked prefill must hold it whole; no model says
it by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

BAIT = "<poison>"
TEXT = BAIT * 8
_TOKENS = tuple(BAIT.encode())


def is_poisoned(tokens: Sequence[int]) -> bool:
    """Whether these tokens of one row contain the bait."""
    if len(tokens) < len(_TOKENS) or _TOKENS[0] not in tokens:
        return False
    width = len(_TOKENS)
    return any(tuple(tokens[at : at + width]) == _TOKENS for at in range(len(tokens) - width + 1))
