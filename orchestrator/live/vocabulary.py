"""How a model's tokens are written, for replicas that follow grammars.

Reading a tokenizer is the gateway's knowledge and a replica has no use for it
until the first grammar comes; this is where the two meet.
"""

from __future__ import annotations

from orchestrator.gateway.tokenizer import load_tokenizer
from replicas.model.grammar import Vocabulary
from replicas.model.source import resolve_model


def read_vocabulary(model: str) -> Vocabulary:
    """Of a model by the name that a deployment gives it. Takes about a second."""
    tokenizer = load_tokenizer(resolve_model(model).path)
    return Vocabulary(
        tokens=tokenizer.spelling, special=tokenizer.special, ends=tuple(sorted(tokenizer.eos_ids))
    )
