"""A request body as JSON, read with a bound on its size and on its patience.

The bound holds while reading, so a body without a declared length is not
collected beyond it. What is too large is still read and thrown away, within
another bound: a connection that is closed while its client sends loses the
answer that says why. JSON is read as the standard has it: no NaN, no Infinity,
and no half of a surrogate pair, which no tokenizer could encode.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request

from orchestrator.gateway.errors import InvalidRequest

BODY_BYTES_MAX = 4 * 1024 * 1024
BODY_TIMEOUT_S = 30.0
DRAIN_BYTES_MAX = 64 * 1024 * 1024  # of a body that will be refused

# The connection cannot be used again while an unread body is on it.
_CLOSE = {"connection": "close"}


async def read_json(
    request: Request, *, bytes_max: int = BODY_BYTES_MAX, timeout_s: float = BODY_TIMEOUT_S
) -> Any:
    """Raises InvalidRequest, or HTTPException 408, 413 or 415."""
    _check_type(request.headers.get("content-type", ""))
    try:
        async with asyncio.timeout(timeout_s):
            content = await _read(request, bytes_max)
    except TimeoutError:
        raise HTTPException(408, "the body did not arrive in time", _CLOSE) from None
    return _parse(content)


def _check_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the content type must be application/json", _CLOSE)


async def _read(request: Request, bytes_max: int) -> bytes:
    declared = request.headers.get("content-length", "")
    waits_for_us = request.headers.get("expect", "").lower() == "100-continue"
    if declared.isdecimal() and int(declared) > (bytes_max if waits_for_us else DRAIN_BYTES_MAX):
        _refuse_size(bytes_max)
    content = bytearray()
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > DRAIN_BYTES_MAX:
            break
        if received <= bytes_max:
            content += chunk
    if received > bytes_max:
        _refuse_size(bytes_max)
    return bytes(content)


def _refuse_size(bytes_max: int) -> NoReturn:
    raise HTTPException(413, f"the body is larger than {bytes_max} bytes", _CLOSE)


def _parse(content: bytes) -> Any:
    try:
        parsed = json.loads(content.decode(), parse_constant=_refuse_constant)
        if b"\\u" in content:  # the only way for half a surrogate pair to get in
            json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("the body is not valid UTF-8", code="invalid_json") from error
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "the body has half of a surrogate pair", code="invalid_json"
        ) from error
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply", code="invalid_json") from error
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}", code="invalid_json") from error
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
