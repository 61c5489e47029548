"""What a caller's request runs as: its class, its tenant and its cache salt.

With keys, tenant and classes are the key's. A request may say the same again,
and choose among the classes; what the key does not cover is refused, since to
correct it quietly would hide a mistake. The salt is made of the tenant and the
client's own one, so that no block of one tenant is ever found by another, and
no time to first token tells that it was there: engine, registry and moves know
blocks by names that begin with the salt.

Without keys a tenant is a name that anybody may write. It would protect
nobody, and cost what the cache is for: users who share a system prompt. So
there the salt is the client's alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from orchestrator.gateway.caller import Caller
from orchestrator.gateway.errors import Forbidden
from protos.messages import RequestClass

_SALT_BYTES = 32
_PURPOSE = b"tenant salt"


@dataclass(frozen=True, slots=True)
class Grant:
    """How a request is run."""

    request_class: RequestClass
    tenant: str
    salt: bytes


def grant(caller: Caller, *, request_class: RequestClass | None, tenant: str, salt: bytes) -> Grant:
    """What this caller gets who asks for this; empty and None where he leaves it to us.

    Raises Forbidden.
    """
    chosen = _class_of(caller, request_class)
    if caller.tenant is None:
        return Grant(chosen, tenant, salt)
    if tenant not in ("", caller.tenant):
        raise Forbidden("this key belongs to another tenant", code="tenant_not_allowed")
    return Grant(chosen, caller.tenant, tenant_salt(caller.tenant, salt))


def tenant_salt(tenant: str, salt: bytes) -> bytes:
    """A salt that no other pair of tenant and salt has."""
    name = tenant.encode()
    digest = blake2b(digest_size=_SALT_BYTES, person=_PURPOSE)
    digest.update(len(name).to_bytes(4, "little") + name + salt)
    return digest.digest()


def _class_of(caller: Caller, wanted: RequestClass | None) -> RequestClass:
    """The class asked for, or the most urgent one that the key allows. Raises Forbidden."""
    if wanted is None:
        return next(each for each in RequestClass if each in caller.classes)
    if wanted not in caller.classes:
        allowed = ", ".join(each.value for each in RequestClass if each in caller.classes)
        raise Forbidden(
            f"this key is not for {wanted.value} requests, only for {allowed}",
            code="class_not_allowed",
        )
    return wanted
