"""The API key that our own clients send: `blockyard chat`, `load`, `chaos`, `explain`, `top`, ...

It comes from the environment, BLOCKYARD_API_KEY, and never from a command
line, which everybody on the machine can read. Without the variable nothing is
sent. Every client of ours takes it from here:

    httpx.Client(headers=key_headers(os.environ))
    stub.Generate(request, metadata=tuple(key_headers(os.environ).items()))
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

KEY_VARIABLE = "BLOCKYARD_API_KEY"
_KEY = re.compile(r"[!-~]*")


def client_key(environment: Mapping[str, str], variable: str = KEY_VARIABLE) -> str:
    """The key; empty where none is set. ClickException, without the key, where it cannot be one."""
    key = environment.get(variable, "").strip()
    if _KEY.fullmatch(key) is None:  # who sent it would quote it in an error
        raise click.ClickException(
            f"{variable} has what no API key has: spaces, line ends or characters beyond ASCII"
        )
    return key


def key_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """HTTP headers, or gRPC metadata: both are lower-case here."""
    key = client_key(environment)
    return {"authorization": f"Bearer {key}"} if key else {}
