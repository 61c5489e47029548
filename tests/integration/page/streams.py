"""Answers that are being written while a test looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

TIMEOUT_S = 120.0
CANARY = "zanzibar"  # of every prompt, and of no page


def ask(url: str, name: str, request_class: str = "interactive", *, tokens: int = 8) -> None:
    """A whole answer."""
    with stream(url, name, request_class, tokens=tokens) as pieces:
        for _ in pieces:
            pass


@contextmanager
def stream(
    url: str, name: str, request_class: str = "interactive", *, tokens: int = 6000
) -> Iterator[Iterator[bytes]]:
    """What is to come of an answer that has begun; it goes on until the test leaves it."""
    body = {
        "model": "tiny",
        "prompt": f"The ferry to {CANARY} leaves when the lamp at the harbour is lit. " * 4,
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "ignore_eos": True,
    }
    headers = {"x-request-id": name, "x-request-class": request_class, "x-tenant": "harbour"}
    with httpx.stream(
        "POST", f"{url}/v1/completions", json=body, headers=headers, timeout=TIMEOUT_S
    ) as response:
        assert response.status_code == httpx.codes.OK
        pieces = response.iter_bytes()
        next(pieces)
        yield pieces
