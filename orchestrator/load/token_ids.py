"""Token ids out of names: prompts of an exact length, for servers that take them.

As words.py, in ids. They lie below a bound that every model keeps and above
its first eighth, where many keep the ids that mean something of their own.
"""

from __future__ import annotations

from random import Random

from orchestrator.load.words import name_digest

TABLE_IDS = 1 << 15
LEAD_IDS = 4  # two bytes of the digest each


class TokenIds:
    """Ids from one seed, all below `vocab`."""

    def __init__(self, seed: int, vocab: int) -> None:
        self._seed = seed
        self._allowed = range(vocab // 8, vocab)
        self._table = Random(seed).choices(self._allowed, k=TABLE_IDS)

    def piece(self, name: str, tokens: int) -> list[int]:
        """So many ids. Fewer of the same name are the same ones."""
        digest = name_digest(self._seed, name)
        pairs = [int.from_bytes(digest[at : at + 2]) for at in range(0, 2 * LEAD_IDS, 2)]
        ids = [self._allowed[pair % len(self._allowed)] for pair in pairs]
        start = pairs[-1] % (TABLE_IDS // 2)
        ids += self._table[start : start + max(0, tokens - len(ids))]
        while len(ids) < tokens:
            ids += self._table
        return ids[:tokens]
