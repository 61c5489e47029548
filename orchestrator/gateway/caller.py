"""Who asks, as far as a key proves it, and what that allows.

Every call has a caller. HTTP's is `request.state.caller`, gRPC's
`current_caller()` (grpc_keys.py); what needs one fails where it was not put
there. Without a keys file everybody is ANYBODY: nothing is proven, everything
is allowed, and tenants are only names that clients trust each other with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protos.messages import RequestClass

ALL_CLASSES = frozenset(RequestClass)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use in a minute; None: as much as there is."""

    requests: int | None = None
    tokens: int | None = None
    block_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of one key. Its name may be logged; the key is not in here."""

    name: str
    tenant: str | None  # None: not proven, the request itself may name one
    classes: frozenset[RequestClass] = ALL_CLASSES
    limits: Limits = field(default_factory=Limits)
    is_operator: bool = False  # may see what every tenant does

    def may_see(self, tenant: str) -> bool:
        """Whether a request of this tenant exists, as far as the caller is told."""
        return self.is_operator or self.tenant == tenant


ANYBODY = Caller(name="anybody", tenant=None, is_operator=True)
