"""What turning tokens into text costs, by the code that does it for every stream.

Replicas know no text, so this is no part of an engine's step: gateways do it, in
processes of their own. It is measured beside a step all the same, as work that
each of its tokens makes for the host.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.gateway.detokenizer import Detokenizer
from orchestrator.gateway.tokenizer import UnsupportedTokenizer, load_tokenizer
from replicas.bench.machine import clock_ns

TEXT = "A block that is full has a name; whoever begins alike finds it. Déjà vu: 日本語, 42. "
TOKENS = 20_000
REPEATS = 5


def detokenize_ns(path: Path) -> int | None:
    """Nanoseconds a token, best of several; None for a model without a tokenizer."""
    try:
        tokenizer = load_tokenizer(path)
    except (UnsupportedTokenizer, FileNotFoundError):
        return None
    once = tokenizer.encode_text(TEXT)
    tokens = (once * (TOKENS // len(once) + 1))[:TOKENS]
    times_ns = []
    for _ in range(REPEATS):
        detokenizer = Detokenizer(tokenizer)
        began_ns = clock_ns()
        for token in tokens:
            detokenizer.feed(token)
        times_ns.append(clock_ns() - began_ns)
    return min(times_ns) // len(tokens)
