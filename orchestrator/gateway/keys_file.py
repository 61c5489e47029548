"""The keys file: TOML, read at the start and again whenever its content changes.

    metrics = "open"                # to all who reach it; default: "operator", needs his key

    [[key]]
    name = "acme-1"                 # shown in logs, and what limits are counted by
    sha256 = "9f86d08..."           # of the key; `blockyard keys new` makes both
    tenant = "acme"
    classes = ["interactive"]       # default: all
    requests_per_minute = 600       # each limit's default: none
    tokens_per_minute = 100_000
    block_seconds_per_minute = 5_000
    expires = 2030-01-01T00:00:00Z  # default: never
    is_operator = false             # sees every tenant's requests, and /ui

Content is compared, not dates: a mounted Secret changes by a link. A file that
is wrong at the start stops the gateway; one that becomes wrong changes nothing,
and the log and `blockyard_keys_file_valid` say so: a slip of the pen neither
lets anybody in nor locks everybody out. A file without a key is wrong, too, for
editors empty a file before they write it: to revoke the last key, let its entry
stay and have expired. No message repeats what a file says.
"""

from __future__ import annotations

import asyncio
import logging
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.gateway.ask import TENANT_CHARACTERS_MAX
from orchestrator.gateway.caller import ALL_CLASSES, Caller, Limits
from orchestrator.gateway.keyring import Entry, Keyring, Keys
from protos.messages import RequestClass

log = logging.getLogger(__name__)

PERIOD_S = 1.0  # a revoked key opens nothing for longer than this, and one reading
BYTES_MAX = 8 * 2**20  # some 30,000 keys
NAME = r"[A-Za-z0-9._-]{1,64}"

_PLACE = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")
_Amount = Annotated[int, Field(ge=1, le=2**40)]


class BadKeysFile(ValueError):
    """It cannot be read, or says what no keys file says."""


def _printable(tenant: str) -> str:
    if not tenant.isprintable():  # operators' terminals print it
        raise ValueError("it has characters that cannot be printed")
    return tenant


class KeyEntry(BaseModel):
    """One [[key]]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=f"^{NAME}$")
    sha256: str = Field(pattern="^[0-9a-fA-F]{64}$")
    # No slash: request ids are parted from their tenant by one (request_ids.py).
    tenant: Annotated[str, AfterValidator(_printable)] = Field(
        pattern="^[^/]+$", max_length=TENANT_CHARACTERS_MAX
    )
    classes: frozenset[RequestClass] = Field(default=ALL_CLASSES, min_length=1)
    requests_per_minute: _Amount | None = None
    tokens_per_minute: _Amount | None = None
    block_seconds_per_minute: _Amount | None = None
    expires: AwareDatetime | None = None
    is_operator: bool = False

    def entry(self) -> Entry:
        """As the doors use it."""
        limits = Limits(
            self.requests_per_minute, self.tokens_per_minute, self.block_seconds_per_minute
        )
        caller = Caller(self.name, self.tenant, self.classes, limits, self.is_operator)
        return Entry(bytes.fromhex(self.sha256), caller, self.expires)


class _KeysToml(BaseModel):
    model_config = ConfigDict(extra="forbid")

    metrics: Literal["open", "operator"] = "operator"
    key: list[KeyEntry] = []


def parse_keys(content: bytes) -> Keyring:
    """Raises BadKeysFile."""
    try:
        told = _KeysToml.model_validate(tomllib.loads(content.decode()))
        if not told.key:
            raise ValueError("it has no [[key]]; to revoke the last one, let it expire")
        return Keyring(
            (entry.entry() for entry in told.key), metrics_are_open=told.metrics == "open"
        )
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise BadKeysFile(f"{place}: {wrong['msg']}") from None
    except UnicodeDecodeError:
        raise BadKeysFile("it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        where = _PLACE.search(str(error))  # its other words may quote the file
        raise BadKeysFile(f"it is not TOML{where[0] if where else ''}") from None
    except ValueError as error:  # none, or two that contradict each other
        raise BadKeysFile(str(error)) from None


def read_keyring(path: Path) -> Keyring:
    """What the file says now. Raises BadKeysFile, with its path."""
    return _load(path)[1]


class KeysFile:
    """Keeps `keys` as the file says. Raises BadKeysFile where it is wrong at the start."""

    def __init__(self, path: Path, keys: Keys) -> None:
        self.is_valid = True
        self._path = path
        self._keys = keys
        self._content, keys.keyring = _load(path)

    async def follow(self) -> None:
        """Notice changes, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look()

    async def look(self) -> None:
        """Take over what the file says now, if that is another thing and makes sense."""
        try:
            content = await asyncio.to_thread(_content, self._path)
            if content == self._content and self.is_valid:
                return
            keyring = parse_keys(content)
        except BadKeysFile as error:
            if self.is_valid:
                log.error("keys file %s: %s; the keys stay as they were", self._path, error)
            self.is_valid = False
            return
        self._content, self.is_valid = content, True
        self._keys.keyring = keyring
        log.warning("keys file %s: %d keys are in force now", self._path, len(keyring.entries))


def _load(path: Path) -> tuple[bytes, Keyring]:
    try:
        content = _content(path)
        return content, parse_keys(content)
    except BadKeysFile as error:
        raise BadKeysFile(f"keys file {path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise BadKeysFile(f"{error.strerror}") from error
    if len(content) > BYTES_MAX:
        raise BadKeysFile(f"it is larger than {BYTES_MAX} bytes")
    return content
