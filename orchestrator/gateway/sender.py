"""How urgent an HTTP request is and on whose behalf it comes, body and headers together.

The class: the body's `request_class`, else the header, else the most urgent one
that the caller may have. The tenant is the caller's. Where nothing is proven
(grant.py) it is the header, which a proxy that knows its clients may set, else
the body's `user`; where it is, `user` is a name within the tenant, as OpenAI
means it, and nothing to us.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.datastructures import Headers

from orchestrator.gateway.ask import class_named, tenant_named
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.grant import grant
from orchestrator.gateway.openai import Call

CLASS_HEADER = "X-Request-Class"
TENANT_HEADER = "X-Tenant"


def with_sender(call: Call, headers: Headers, caller: Caller) -> Call:
    """The call with what its headers say and its key allows. Raises InvalidRequest, Forbidden."""
    request_class = call.request_class
    tenant = call.tenant if caller.tenant is None else ""
    if request_class is None and CLASS_HEADER in headers:
        request_class = class_named(headers[CLASS_HEADER], param=CLASS_HEADER)
    tenant = tenant_named(tenant, param="user")
    if TENANT_HEADER in headers:
        tenant = tenant_named(headers[TENANT_HEADER], param=TENANT_HEADER)
    granted = grant(caller, request_class=request_class, tenant=tenant, salt=call.salt)
    return replace(
        call,
        request_class=granted.request_class,
        tenant=granted.tenant,
        salt=granted.salt,
    )
