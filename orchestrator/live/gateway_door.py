"""Where a person at a terminal knocks: a gateway's URL, and whom to believe there."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpx

from orchestrator.client_key import key_headers

# What a handshake in vain looks like from here: no trust, or words in the clear to a TLS door.
IN_VAIN = ("CERTIFICATE_VERIFY_FAILED", "disconnected without sending a response")


class NoUrl(ValueError):
    """It names no gateway; the sentence repeats it."""


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

    def said_of(self, error: httpx.TransportError) -> str:
        """The error, and what to try where TLS may be why."""
        if not any(sign in str(error) for sign in IN_VAIN):
            return str(error) or type(error).__name__
        return (
            f"{error}; if it speaks TLS, say whom to believe with --tls-ca: a folder that also "
            "has a certificate, where one must be shown"
        )


def checked_url(url: str) -> str:
    """The same without a slash at its end. Raises NoUrl."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or any(character.isspace() for character in url):
        raise NoUrl(f"{url!r} is not a URL such as http://127.0.0.1:8000")
    return url.rstrip("/")


def in_path(word: str) -> str:
    """Whatever a person typed, as one part of a URL's path."""
    return quote(word, safe="", errors="surrogateescape")
