"""Go on, at any gateway, with an answer whose gateway its client has lost.

What a gateway would have to remember for that travels with its client. The
*origin* says what cannot be told from the request itself: the id under which
it runs (and from which a seed was made, where the client gave none), the date
and the model's revision that every part of the answer repeats, the length that
was left open. With the same request body and the tokens that the client has of
every choice, another gateway asks the replicas for the very same request.

A seal over both, origin and request, tells that they belong together. It is
no secret: who makes one up gets what he could have asked for anyway.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from orchestrator.gateway.ask import Ask
from orchestrator.gateway.errors import InvalidRequest
from protos.identity import request_digest
from protos.messages import Delta, Request, RequestId

VERSION = 1
ORIGIN_CHARACTERS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """What the first gateway knew of a request and its answer."""

    request_id: RequestId
    created: int  # seconds since the epoch
    revision: str  # of the model
    tokens_max: int
    hit_tokens: int
    seal: str = ""

    def sealed(self, request: Request, stop: Sequence[str]) -> Origin:
        """The same, proved to belong to this request."""
        said = [*self._fields(), request_digest(request).hex(), request.choices, *stop]
        digest = blake2b(json.dumps(said).encode(), digest_size=8)
        return replace(self, seal=digest.hexdigest())

    def encode(self) -> str:
        """As a client keeps it: letters, digits, `-` and `_`."""
        plain = json.dumps([VERSION, *self._fields(), self.seal], separators=(",", ":"))
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    def _fields(self) -> list[str | int]:
        return [self.request_id, self.created, self.revision, self.tokens_max, self.hit_tokens]


def decode_origin(word: str, *, param: str) -> Origin:
    """Raises InvalidRequest for what no gateway of this version wrote."""
    try:
        if len(word) > ORIGIN_CHARACTERS_MAX:
            raise ValueError("too long")
        padded = word.encode("ascii") + b"=" * (-len(word) % 4)
        match json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)):
            case [
                int(version),
                str(request_id),
                int(created),
                str(revision),
                int(tokens_max),
                int(hit_tokens),
                str(seal),
            ] if version == VERSION and tokens_max > 0 and request_id.isprintable():
                id_ = RequestId(request_id)
                return Origin(id_, created, revision, tokens_max, hit_tokens, seal)
    except (ValueError, binascii.Error, RecursionError):
        pass
    raise malformed(param)


@dataclass(frozen=True, slots=True)
class Resumption:
    """An answer's origin, and what its client has of every choice."""

    origin: Origin
    tokens: tuple[int, ...]  # that it has, with their text
    finished: frozenset[int]  # choices whose end it has, too
    param: str  # where the client said so

    def restored(self, ask: Ask) -> Ask:
        """What the first gateway made of the same request."""
        if ask.options.n != len(self.tokens):
            raise self.mismatch()
        options = ask.options
        if options.max_tokens is None:
            options = replace(options, max_tokens=self.origin.tokens_max)
        return replace(ask, request_id=self.origin.request_id, options=options)

    def check(self, request: Request, stop: Sequence[str]) -> None:
        """Raises InvalidRequest unless this is what the first gateway asked for."""
        if self.origin.sealed(request, stop).seal != self.origin.seal:
            raise self.mismatch()

    def mismatch(self) -> InvalidRequest:
        return InvalidRequest(
            f"{self.param} belongs to another request; send the body that the answer began with",
            code="resume_token_mismatch",
            param=self.param,
        )


def malformed(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"{param} is not one that was sent with an answer",
        code="resume_token_malformed",
        param=param,
    )


def parted(delta: Delta, known: int) -> tuple[Delta, ...]:
    """The same delta, cut after the tokens that are known, where it has both kinds."""
    place = known - delta.first_index
    if not 0 < place < len(delta.tokens):
        return (delta,)
    return (
        replace(delta, tokens=delta.tokens[:place], finish=None),
        replace(delta, tokens=delta.tokens[place:], first_index=known),
    )
