"""What can go wrong with a request, as its client sees it. One small tree.

The front doors map it once: http.py to OpenAI's error JSON and a status,
grpc.py to a status code. A message names what was wrong and what would be
right; it never shows a prompt, a stack or an address.
"""

from __future__ import annotations

from collections.abc import Mapping


class GatewayError(Exception):
    """A request that gets no (further) answer, and why."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code  # a stable word for programs: "context_length_exceeded", ...
        self.param = param  # the offending field, in OpenAI's notation: "messages[0].role"


class InvalidRequest(GatewayError):
    """The client's mistake; the same request will fail again. HTTP 400, INVALID_ARGUMENT."""


class NotFound(GatewayError):
    """No such model (or route). HTTP 404, NOT_FOUND."""


class Unauthenticated(GatewayError):
    """No key, or none that is known. HTTP 401, UNAUTHENTICATED."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="invalid_api_key")


class Forbidden(GatewayError):
    """The key is known and does not allow this. HTTP 403, PERMISSION_DENIED."""


class Unservable(GatewayError):
    """Well formed, but more than any replica could ever hold. HTTP 400, RESOURCE_EXHAUSTED."""


class Shed(GatewayError):
    """Too much is asked right now. HTTP 429 with Retry-After, RESOURCE_EXHAUSTED."""

    def __init__(self, message: str, *, code: str, retry_after_s: int) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class RateLimited(GatewayError):
    """The key's limit is used up. HTTP 429 with Retry-After, RESOURCE_EXHAUSTED."""

    def __init__(self, message: str, *, retry_after_s: int, headers: Mapping[str, str]) -> None:
        super().__init__(message, code="rate_limit_exceeded")
        self.retry_after_s = retry_after_s
        self.headers = headers  # x-ratelimit-*: what is left of each limit


class NoReplica(GatewayError):
    """Nobody is there to serve it. HTTP 503 with Retry-After, UNAVAILABLE."""

    def __init__(self, message: str, *, code: str, retry_after_s: int) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class PoisonRequest(GatewayError):
    """Replicas died one after another while they ran it, so no more are risked for it.

    HTTP 422, which clients do not send again by themselves, or an error event; INTERNAL.
    """


class ReplicaFailed(GatewayError):
    """The replica was lost while the request ran on it. HTTP 502 or an error event, UNAVAILABLE."""
