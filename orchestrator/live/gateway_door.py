"""Where a person at a terminal knocks: a gateway's URL, and whom to believe there."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from orchestrator.client_key import key_headers


@dataclass(frozen=True, slots=True)
class GatewayDoor:
    """`trust` None: whom the system believes."""

    url: str
    trust: ssl.SSLContext | None = None

    def client(self, timeout: httpx.Timeout) -> httpx.Client:
        """To be closed by who asked for it. It sends the key of the environment."""
        return httpx.Client(
            base_url=self.url,
            headers=key_headers(os.environ),
            timeout=timeout,
            verify=True if self.trust is None else self.trust,
        )


def in_path(word: str) -> str:
    """Whatever a person typed, as one part of a URL's path."""
    return quote(word, safe="", errors="surrogateescape")
