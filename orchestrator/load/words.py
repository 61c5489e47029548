"""Readable text out of names: what prompts are made of where tokens are not known.

A piece is known by its name (a trace's block id, a request's number) and the
seed. Equal names give equal text, so prompts share a prefix exactly where their
block ids are the same; other names differ from the first word on; another seed
makes everything new, so that no server's cache knows it. A piece begins with
words that spell its name's digest and goes on in a fixed table, so that a
prompt of any length costs one slice.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

# Plain words, a token each in most vocabularies.
_PLAIN = (
    "about after again air all along also always and animal another answer any around ask away "
    "back bank be because been before began being below between big boat book both boy bread "
    "bring build but call came can car carry chair change children city clear close cloud cold "
    "come could country cut day did different door down draw each early earth eat end enough "
    "even every eye face family far farm father few field find fire first fish five follow food "
    "foot for forest form found four friend from full game gave garden get girl give glass go "
    "good grass great green ground group grow had half hand hard has have he head hear help her "
    "here high hill him his hold home horse hot hour house how if in into island it just keep"
)
WORDS = tuple(_PLAIN.split())
TABLE_WORDS = 1 << 15
LEAD_WORDS = 4


class Words:
    """Text from one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._table = " " + " ".join(Random(seed).choices(WORDS, k=TABLE_WORDS))

    def piece(self, name: str, characters: int) -> str:
        """So many characters, a space first. Fewer of the same name are the same ones."""
        digest = name_digest(self._seed, name)
        lead = "".join(f" {WORDS[byte % len(WORDS)]}" for byte in digest[:LEAD_WORDS])
        half = len(self._table) // 2
        start = self._table.index(" ", int.from_bytes(digest[LEAD_WORDS:]) % half)
        text = lead + self._table[start : start + max(0, characters - len(lead))]
        while len(text) < characters:
            text += self._table
        return text[:characters]


def name_digest(seed: int, name: str) -> bytes:
    """Eight bytes that stand for a name."""
    return blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
