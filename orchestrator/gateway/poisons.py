"""Requests of which replicas died lately, so that one sent again does not cost as many anew.

What a replica dies of is a matter of its prompt and options, not of the request's
name, and clients send again under a new one. After a while a request is given
another chance: its replicas may have died of something else.

Bound: requests remembered, the oldest forgotten first. Each gateway has its own.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from hashlib import blake2b

from orchestrator.control.seams import Clock
from protos.messages import Request

POISONS_MAX = 1024
REMEMBERED_NS = 120_000_000_000


class Poisons:
    """Of one gateway."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_ns: OrderedDict[bytes, int] = OrderedDict()

    def add(self, request: Request) -> None:
        """It was given up just now."""
        name = fingerprint(request)
        self._until_ns.pop(name, None)
        self._until_ns[name] = self._clock.now_ns() + REMEMBERED_NS
        while len(self._until_ns) > POISONS_MAX:
            self._until_ns.popitem(last=False)

    def __contains__(self, request: Request) -> bool:
        if not self._until_ns:  # as nearly always: nothing is hashed
            return False
        return self._until_ns.get(fingerprint(request), 0) > self._clock.now_ns()


def fingerprint(request: Request) -> bytes:
    """Of all that a replica computes by, but the seed, which is new with each name."""
    sampling = replace(request.sampling, seed=0)
    told = repr((request.prompt, request.choices, request.salt, sampling))
    return blake2b(told.encode(), digest_size=16).digest()
