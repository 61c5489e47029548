"""How a model's tokens are written, for replicas that follow grammars.

Reading a tokenizer is the gateway's knowledge and a replica has no use for it
until the first grammar comes; this is where the two meet.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.gateway.tokenizer import load_tokenizer
from replicas.model.grammar import Vocabulary


def read_vocabulary(path: Path) -> Vocabulary:
    """Of the model in that folder or file. Takes about a second."""
    tokenizer = load_tokenizer(path)
    return Vocabulary(
        tokens=tokenizer.spelling, special=tokenizer.special, ends=tuple(sorted(tokenizer.eos_ids))
    )
