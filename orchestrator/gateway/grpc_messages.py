"""gRPC interceptor: bytes that are no message are their sender's mistake.

Left alone, grpc.aio takes them for a bug of ours: the call ends as UNKNOWN, and
the log gets a traceback for every one that a stranger cares to send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isasyncgenfunction
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.grpc_errors import STATUS, Context, trailing_metadata

Method = Callable[[Any, Context], Any]


class ReadMessages(grpc.aio.ServerInterceptor):
    """Answers INVALID_ARGUMENT where a method that takes one message got none."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            make, method = grpc.unary_stream_rpc_method_handler, handler.unary_stream
        else:
            make, method = grpc.unary_unary_rpc_method_handler, handler.unary_unary
        wrap = _each if isasyncgenfunction(method) else _once
        return make(
            wrap(method), _reader(handler.request_deserializer), handler.response_serializer
        )


def _reader(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """None for what cannot be read: here nobody can be answered yet."""

    def read_or_none(content: bytes) -> Any:
        try:
            return read(content)
        except DecodeError:
            return None

    return read_or_none


def _once(method: Method) -> Method:
    async def checked(request: Any, context: Context) -> Any:
        if request is None:
            await _refuse(context)
        return await method(request, context)

    return checked


def _each(method: Method) -> Method:
    async def checked(request: Any, context: Context) -> AsyncIterator[Any]:
        if request is None:
            await _refuse(context)
        async for answer in method(request, context):
            yield answer

    return checked


async def _refuse(context: Context) -> None:
    error = InvalidRequest("these bytes are no message of this method", code="invalid_message")
    await context.abort(STATUS[InvalidRequest], error.message, trailing_metadata(error))
