"""How urgent an HTTP request is and on whose behalf it comes, body and headers together.

The class: the body's `request_class`, else the header, else interactive. The
tenant: the header, which a proxy that knows its clients may set, else the
body's `user`. Neither is proven: they order the work of clients that trust
each other.
"""

from __future__ import annotations

from dataclasses import replace

from starlette.datastructures import Headers

from orchestrator.gateway.ask import class_named, tenant_named
from orchestrator.gateway.openai import Call

CLASS_HEADER = "X-Request-Class"
TENANT_HEADER = "X-Tenant"


def with_sender(call: Call, headers: Headers) -> Call:
    """The call with what its headers say. Raises InvalidRequest."""
    request_class, tenant = call.request_class, call.tenant
    if request_class is None and CLASS_HEADER in headers:
        request_class = class_named(headers[CLASS_HEADER], param=CLASS_HEADER)
    if TENANT_HEADER in headers:
        tenant = tenant_named(headers[TENANT_HEADER], param=TENANT_HEADER)
    return replace(call, request_class=request_class, tenant=tenant)
