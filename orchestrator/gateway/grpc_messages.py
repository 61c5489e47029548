"""gRPC interceptor: what a method is asked is read here, in time, or its call ends.

grpc.aio itself waits for the message of a method that takes one before anything
of ours runs, for as long as its client likes, and takes bytes that are none for
a bug of ours: the call ends as UNKNOWN, and the log gets a traceback for every
one that a stranger cares to send. So to grpc.aio each method takes a stream, of
which we read the first message; on the wire these are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from inspect import isasyncgenfunction
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from orchestrator.gateway.body import BODY_TIMEOUT_S
from orchestrator.gateway.errors import InvalidRequest
from orchestrator.gateway.grpc_errors import STATUS, Context, trailing_metadata

Method = Callable[[Any, Context], Any]


class ReadMessages(grpc.aio.ServerInterceptor):
    """Where a method that takes one message gets none: INVALID_ARGUMENT, or DEADLINE_EXCEEDED."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        handler = await continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            make, method = grpc.stream_stream_rpc_method_handler, handler.unary_stream
        else:
            make, method = grpc.stream_unary_rpc_method_handler, handler.unary_unary
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
    async def checked(requests: AsyncIterable[Any], context: Context) -> Any:
        return await method(await _first(requests, context), context)

    return checked


def _each(method: Method) -> Method:
    async def checked(requests: AsyncIterable[Any], context: Context) -> AsyncIterator[Any]:
        async for answer in method(await _first(requests, context), context):
            yield answer

    return checked


async def _first(requests: AsyncIterable[Any], context: Context) -> Any:
    """The message. Ends the call where there is none, or none in time."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            request = await anext(aiter(requests), None)
    except TimeoutError:
        await context.abort(StatusCode.DEADLINE_EXCEEDED, "the message did not arrive in time")
    if request is None:
        error = InvalidRequest("these bytes are no message of this method", code="invalid_message")
        await context.abort(STATUS[InvalidRequest], error.message, trailing_metadata(error))
    return request
