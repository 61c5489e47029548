"""One Redis-protocol server: how to reach it, how long to wait, how it may fail.

Whatever goes wrong with the server or on the way to it (refused, timed out,
loading, read-only, out of memory, not permitted) is RegistryUnavailable with
the original as its cause, within the bounds of RegistryConfig and without a
retry: the caller knows better what to do meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis_pool import connection_pool
from orchestrator.registry.scripts import Script
from protos.registry import RegistryUnavailable

Argument = str | bytes | int
# What uvloop says, as a RuntimeError, where asyncio's own loop has a ConnectionError.
CLOSED = "the handler is closed"


class RedisServer:
    """Commands and scripts on one server. Answers are bytes, ints, lists and None."""

    def __init__(self, client: Redis) -> None:
        """Takes over `client`, which must answer bytes: `close` closes it too."""
        self._client = client

    @classmethod
    def at(cls, url: str, config: RegistryConfig) -> Self:
        """The server at a URL as redis_pool.py has them; ValueError if `url` is none.

        Does no I/O: a server that is away shows at the first call.
        """
        return cls(Redis.from_pool(connection_pool(url, config)))

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(self, *command: Argument) -> Any:
        """The server's answer to one command."""
        with _failing_as_unavailable():
            return await self._execute(*command)

    async def run(
        self, script: Script, *, keys: Sequence[Argument], args: Sequence[Argument]
    ) -> Any:
        """The script's answer; teaches the server a script that it does not know."""
        with _failing_as_unavailable():
            try:
                return await self._execute("EVALSHA", script.sha, len(keys), *keys, *args)
            except NoScriptError:
                return await self._execute("EVAL", script.source, len(keys), *keys, *args)

    async def hear(self, channel: str, *, silence_s: float) -> AsyncGenerator[bytes | None, None]:
        """What is published on the channel from now on; None first, when that has begun.

        A server that says nothing for a time is asked whether it is there; one
        that does not answer in that time is unavailable.
        """
        async with self._client.pubsub() as subscription:
            with _failing_as_unavailable():
                await subscription.subscribe(channel)
            is_asked = False
            while True:
                with _failing_as_unavailable():
                    said = await subscription.get_message(timeout=silence_s)
                    if said is None and is_asked:
                        raise RegistryUnavailable("the registry's server has fallen silent")
                    is_asked = said is None
                    if is_asked:
                        await subscription.ping()
                if said is not None and said["type"] == "subscribe":
                    yield None
                elif said is not None and said["type"] == "message":
                    yield said["data"]

    async def _execute(self, *command: Argument) -> Any:
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]


@contextmanager
def _failing_as_unavailable() -> Iterator[None]:
    task = asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    try:
        yield
    except (RedisError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and CLOSED not in str(error):
            raise
        if task is not None and task.cancelling():
            # The client has taken its caller's cancellation for its own timeout.
            raise asyncio.CancelledError from error
        raise RegistryUnavailable(f"the registry's server failed: {error}") from error
    if task is not None and task.cancelling() > cancelled:
        # The client waits by `asyncio.wait_for`, which in Python 3.11 answers a cancellation that
        # comes with the result by the result: who is asked to end would go on for ever.
        raise asyncio.CancelledError
