"""The API key that our own clients send: `blockyard chat`, `load`, `chaos`, `explain`, `top`, ...

It comes from the environment, BLOCKYARD_API_KEY, and never from a command
line, which everybody on the machine can read. Without the variable nothing is
sent. Every client of ours takes it from here:

    httpx.Client(headers=key_headers(os.environ))
    stub.Generate(request, metadata=tuple(key_headers(os.environ).items()))
"""

from __future__ import annotations

from collections.abc import Mapping

KEY_VARIABLE = "BLOCKYARD_API_KEY"


def client_key(environment: Mapping[str, str]) -> str:
    """The key; empty where none is set."""
    return environment.get(KEY_VARIABLE, "").strip()


def key_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """HTTP headers, or gRPC metadata: both are lower-case here."""
    key = client_key(environment)
    return {"authorization": f"Bearer {key}"} if key else {}
