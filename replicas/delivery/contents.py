"""Which files make a model, and which version of it they are.

Files are asked for by the names that a model's folder has; no store needs to
list anything. The one thing from outside that names files is the index of
sharded weights, and its names must be plain: nothing remote ever chooses where
something is written. What is pickled has no name here, so it is never fetched.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from urllib.parse import unquote

from replicas.delivery.errors import ChecksumMissing, RemoteRefused, RemoteUnsound
from replicas.delivery.gguf_head import NeedsMore, head_bytes
from replicas.delivery.reading import Reading
from replicas.delivery.store import Found, Store
from replicas.delivery.sums import SUMS, SUMS_BYTES_MAX, read_sums
from replicas.model.errors import ModelNotFound

LOG = logging.getLogger(__name__)

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
INDEX_BYTES_MAX = 64 << 20
SHARDS_MAX = 4096
HEAD_BYTES_MAX = 256 << 20  # of a GGUF file; a vocabulary of 256,000 tokens has about 16 MiB
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors")


class Part(Enum):
    """What of a model is wanted: all of it, or what a gateway reads."""

    WHOLE = "whole"
    TOKENIZER = "tokenizer"


@dataclass(frozen=True, slots=True)
class Piece:
    """One file, and how much of its beginning is wanted: nearly always all of it."""

    found: Found
    saved_as: str
    bytes_wanted: int
    sum: str | None

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def identity(self) -> str:
        """The same for the same bytes; where nobody tells digests, as the store tells versions."""
        return f"{self.name} {self.found.size} {self.bytes_wanted} {self.sum or self.found.version}"


@dataclass(frozen=True, slots=True)
class Contents:
    """All that is to be fetched, in the order of names."""

    part: Part
    pieces: tuple[Piece, ...]

    @property
    def bytes_wanted(self) -> int:
        return sum(piece.bytes_wanted for piece in self.pieces)

    @property
    def version(self) -> str:
        """The name of this content's folder."""
        digest = sha256("\n".join(piece.identity for piece in self.pieces).encode())
        return f"{self.part.value}-{digest.hexdigest()[:16]}"


def survey(store: Store, part: Part) -> Contents:
    """What the store has of the model now. Raises ModelNotFound or a DeliveryError."""
    listed = _content_if_any(store, SUMS, bytes_max=SUMS_BYTES_MAX)
    sums = read_sums(listed) if listed is not None else {}
    names = [store.location.file_name] if store.location.is_file else _names(store, part)
    pieces = [piece for name in names if (piece := _piece(store, name, part, sums)) is not None]
    _check_sums(store, pieces, sums)
    if listed is not None:
        here = Found(SUMS, len(listed), "")
        pieces.append(Piece(here, SUMS, here.size, sha256(listed).hexdigest()))
    return Contents(part, tuple(sorted(pieces, key=lambda piece: piece.name)))


def _names(store: Store, part: Part) -> list[str]:
    small = [CONFIG, *TOKENIZER_FILES]
    if part is Part.TOKENIZER:
        return small
    index = _content_if_any(store, INDEX, bytes_max=INDEX_BYTES_MAX)
    return [*small, SINGLE] if index is None else [*small, INDEX, *shards(index)]


def shards(index: bytes) -> list[str]:
    """The weight files that an index names. Raises RemoteUnsound for names that are not plain."""
    try:
        names = set(json.loads(index)["weight_map"].values())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise RemoteUnsound(f"{INDEX} is no index of weight files: {error!r}.") from None
    if not 0 < len(names) <= SHARDS_MAX:
        raise RemoteUnsound(f"{INDEX} names {len(names)} files; 1 to {SHARDS_MAX} would do.")
    for name in names:
        if not isinstance(name, str) or _SHARD.fullmatch(name) is None:
            raise RemoteUnsound(f"{INDEX} names {name!r}, which is no weight file beside it.")
    return sorted(names)


def _piece(store: Store, name: str, part: Part, sums: Mapping[str, str]) -> Piece | None:
    found = _found_if_any(store, name) if name in TOKENIZER_FILES else store.find(name)
    if found is None:
        if name in TOKENIZER_FILES:
            return None
        raise ModelNotFound(f"There is no {name} at {store.location}.")
    if found.size == 0:
        raise RemoteUnsound(f"{name} of {store.location} is empty.")
    if not store.location.is_file:
        return Piece(found, name, found.size, sums.get(name))
    saved_as = store.location.saved_as
    if part is Part.TOKENIZER and not store.delivery.needs_sums:  # which tell nothing of a head
        return Piece(found, saved_as, _head(store, found), None)
    return Piece(found, saved_as, found.size, sums.get(name) or sums.get(unquote(name)))


def _found_if_any(store: Store, name: str) -> Found | None:
    """Stores that let nobody list refuse what is not there, too: who may not look finds nothing.

    A real refusal is heard at the files that every model has.
    """
    try:
        return store.find(name)
    except RemoteRefused as error:
        LOG.warning("%s Going on without it.", error)
        return None


def _content_if_any(store: Store, name: str, *, bytes_max: int) -> bytes | None:
    found = _found_if_any(store, name)
    return None if found is None else store.content(found, bytes_max=bytes_max)


def _head(store: Store, found: Found) -> int:
    beginning, end_max = b"", min(found.size, HEAD_BYTES_MAX)
    with Reading(store, found) as reading:
        while len(beginning) < end_max:
            beginning += reading.read(len(beginning), end_max)
            try:
                return head_bytes(beginning)
            except NeedsMore:
                continue
            except RemoteUnsound as error:
                raise RemoteUnsound(f"{store.location} is no GGUF file. {error}") from None
    raise RemoteUnsound(f"{store.location} is a GGUF file without an end of its head.")


def _check_sums(store: Store, pieces: list[Piece], sums: Mapping[str, str]) -> None:
    without = [p.name for p in pieces if p.sum is None]
    if store.delivery.needs_sums and without:
        what = f"{SUMS} does not name {', '.join(without)}" if sums else f"There is no {SUMS}"
        raise ChecksumMissing(
            f"{store.location}: {what}, and unproven files are not to be loaded. "
            "`blockyard model sums FOLDER` writes it."
        )
