"""The store behind a URL, asked with patience. All of fsspec is behind this file and reading.py.

Questions that fail for the moment are asked again after growing pauses, and
given up after so many tries. What comes out is an answer or a DeliveryError;
an error of a library never passes, since it may repeat the URL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

import aiohttp
import fsspec

from replicas.delivery import object_stores
from replicas.delivery.config import Delivery
from replicas.delivery.errors import (
    Interrupted,
    RemoteRefused,
    RemoteUnavailable,
    RemoteUnsound,
    UnknownStore,
)
from replicas.delivery.location import Location
from replicas.delivery.trouble import Trouble, trouble_of

LOG = logging.getLogger(__name__)
Answer = TypeVar("Answer")
SAID_MAX = 300

# By which stores tell two versions of a file apart, the surest first.
VERSIONS = (
    "ETag",
    "etag",
    "e_tag",
    "md5Hash",
    "Content-MD5",
    "generation",
    "LastModified",
    "Last-Modified",
)
TIMES = ("last_modified", "mtime", "modified", "created")
# A silent server is left after 30 s, one that dribbles after five minutes for a chunk.
HTTP_TIMES = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=30)


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the store as it is now; another `version` is another content."""

    name: str
    size: int
    version: str


class Store:
    """Where one model is. May be asked from several threads."""

    def __init__(self, location: Location, delivery: Delivery, stop: Event) -> None:
        """Raises UnknownStore where nothing here can read such a URL."""
        self.location = location
        self.delivery = delivery
        self._stop = stop
        scheme = location.url.partition("://")[0].lower()
        # How it reads a file: no more at once than a chunk, and nothing ahead.
        self._opening: dict[str, Any] = {"cache_type": "none"}
        try:
            adopted = object_stores.adopted(scheme)
            if adopted is not None:
                self._opening["buffer_size"] = delivery.chunk_bytes
            options = {"skip_instance_cache": True, **(adopted or _options(scheme))}
            self._files, _ = fsspec.core.url_to_fs(location.beside(""), **options)
        except (ImportError, ValueError) as error:
            said = object_stores.HOW_TO if scheme in object_stores.SCHEMES else error
            raise UnknownStore(f"{location} cannot be read: {location.scrub(said)}.") from None

    def find(self, name: str) -> Found | None:
        """None where there is no such file."""
        path = self._path(name)
        info = self.asked(f"look for {name}", lambda: self._files.info(path))
        if info is None or info.get("type") == "directory":
            return None
        size = info.get("size")
        if not isinstance(size, int):
            raise RemoteUnsound(f"{self.location} does not say how long {name} is.")
        versions = [f"{key}={info[key]}" for key in (*VERSIONS, *TIMES) if info.get(key)]
        return Found(name, size, versions[0] if versions else "")

    def content(self, found: Found, *, bytes_max: int) -> bytes:
        """All of a small file."""
        name = found.name
        if found.size > bytes_max:
            raise RemoteUnsound(f"{name} of {self.location} has {found.size} bytes: too many.")
        content = self.asked(f"read {name}", lambda: self._whole(found))
        if content is None or len(content) != found.size:
            raise RemoteUnsound(f"{name} of {self.location} changed while it was read; try again.")
        return content

    def opened(self, name: str, *, is_streamed: bool) -> Any:
        """A file object, to be closed. Raises what its library does."""
        block = 0 if is_streamed else self.delivery.chunk_bytes
        return self._files.open(self._path(name), "rb", block_size=block, **self._opening)

    def asked(self, question: str, ask: Callable[[], Answer]) -> Answer | None:
        """The answer, None for what is not there, or a DeliveryError."""
        failures = 0
        while True:
            try:
                return ask()
            except Exception as error:  # of any of many libraries
                failures += 1
                if not self.may_ask_again(question, error, failures):
                    return None

    def may_ask_again(self, question: str, error: Exception, failures: int) -> bool:
        """After a pause; False where what is asked for is not there. Else a DeliveryError."""
        said = f"{self.location}: could not {question}: {self._said(error)}"
        match trouble_of(error):
            case Trouble.ABSENT:
                return False
            case Trouble.REFUSED:
                raise RemoteRefused(f"{said}.") from None
            case Trouble.PASSING:
                tries = self.delivery.patience.tries
                if failures >= tries:
                    raise RemoteUnavailable(f"{said} (tried {tries} times).") from None
                pause_s = self.delivery.patience.pause_s(failures)
                LOG.warning("%s; again in %.1f s", said, pause_s)
                self.check_wanted(pause_s)
                return True

    def check_wanted(self, within_s: float = 0.0) -> None:
        """Raises Interrupted when the model is no longer wanted, at once or within that time."""
        if self._stop.wait(within_s):
            raise Interrupted(f"{self.location}: fetching was stopped; it can be gone on with.")

    def _whole(self, found: Found) -> bytes:
        file = self.opened(found.name, is_streamed=False)
        try:
            content = bytearray()
            while len(content) <= found.size and (chunk := file.read(found.size)):
                content += chunk
            return bytes(content)
        finally:
            with suppress(Exception):
                file.close()

    def _path(self, name: str) -> str:
        path: str = self._files._strip_protocol(self.location.beside(name))
        return path

    def _said(self, error: Exception) -> str:
        cause = error.__cause__
        spoken = cause if isinstance(cause, aiohttp.ClientError) else error
        if isinstance(spoken, aiohttp.ClientResponseError):
            return f"HTTP {spoken.status} {self.location.scrub(spoken.message)}".rstrip()
        lines = str(spoken).splitlines() or [""]  # some go on with pages of their insides
        return f"{type(spoken).__name__} {self.location.scrub(lines[0])[:SAID_MAX]}".rstrip(" .")


def _options(scheme: str) -> dict[str, Any]:
    return {"client_kwargs": {"timeout": HTTP_TIMES}} if scheme in ("http", "https") else {}
