"""Connections to a Redis-protocol server, by URL, each wait on them bounded.

    redis://[user:password@]host[:port][/database][?options of redis-py]
    rediss://...   the same over TLS
    unix://...     a socket of this machine
    redis+sentinel://[user:password@]host:port,host:port/name[/database][?options]
    rediss+sentinel://...

The last two ask Sentinels for the server that is called `name`, at every new
connection; when they have made another one the master, connections to the old
one are closed. `sentinel_username` and `sentinel_password` among the options
are for the Sentinels themselves, the user in front is the server's.

A master that the Sentinels have replaced while it was cut off from them may
still be asked by whoever is on its side of the cut: `min-replicas-to-write 1`
on the servers keeps it from answering writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff

from orchestrator.registry.config import RegistryConfig

SENTINEL = "+sentinel"
SENTINEL_PORT = 26379


def connection_pool(url: str, config: RegistryConfig) -> BlockingConnectionPool:
    """Connections to the server, within the config's bounds; ValueError if `url` is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith(SENTINEL):
            return _sentinel_pool(parts, config)
        pool = BlockingConnectionPool.from_url(url, **_pool_bounds(config), **_bounds(config))
        pool.connection_class(**pool.connection_kwargs)  # refuses options it does not know
    except (ValueError, TypeError) as error:
        # The URL is not repeated: it may carry a password.
        raise ValueError(
            "the registry's URL must read redis://[user:password@]host[:port][/database], "
            "rediss://..., unix://... or redis+sentinel://host:port,host:port/name, "
            "with options of redis-py only"
        ) from error
    return pool


class SentinelPool(BlockingConnectionPool):
    """Connections to whichever server the Sentinels call the master."""

    is_master = True  # what redis-py's connections ask their pool, and whether to ping at first
    check_connection = False

    def __init__(self, sentinel: Sentinel, name: str, **options: Any) -> None:
        super().__init__(connection_pool=self, **options)
        self._sentinel = sentinel
        self._name = name
        self._address: tuple[str, int] | None = None

    async def get_master_address(self) -> tuple[str, int]:
        """Where the master is now. Connections to an earlier one that nobody uses are closed."""
        address: tuple[str, int] = await self._sentinel.discover_master(self._name)
        if address != self._address:
            self._address = address
            await self.disconnect(inuse_connections=False)
        return address

    async def aclose(self) -> None:
        await super().aclose()
        await self._sentinel.aclose()


def _sentinel_pool(parts: SplitResult, config: RegistryConfig) -> SentinelPool:
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    # What redis-py makes of a URL with one host; its own parser knows all options.
    scheme = parts.scheme.removesuffix(SENTINEL)
    authority = f"{user}@sentinel" if user else "sentinel"
    plain = urlunsplit((scheme, authority, f"/{database}", parts.query, ""))
    options: dict[str, Any] = {**parse_url(plain), **_bounds(config)}
    is_encrypted = options.pop("connection_class", None) is SSLConnection
    del options["host"]
    if not name or (database and "db" not in options):
        raise ValueError("a master has a name, and a database a number")
    of_sentinels = _of_sentinels(options, is_encrypted)
    connection_class = SentinelManagedSSLConnection if is_encrypted else SentinelManagedConnection
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_address(host) for host in hosts.split(",")], sentinel_kwargs=of_sentinels
    )
    pool = SentinelPool(
        sentinel, name, connection_class=connection_class, **_pool_bounds(config), **options
    )
    connection_class(**pool.connection_kwargs)  # type: ignore[no-untyped-call]
    return pool


def _of_sentinels(options: dict[str, Any], is_encrypted: bool) -> dict[str, Any]:
    """How Sentinels are spoken to: as the server is, under names of their own."""
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    shared = {
        name: value for name, value in options.items() if name not in ("username", "password", "db")
    }
    return {**shared, **own, "ssl": is_encrypted}


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("a Sentinel has a host")
    return parts.hostname, parts.port or SENTINEL_PORT


def _bounds(config: RegistryConfig) -> Mapping[str, Any]:
    return {
        "socket_timeout": config.operation_ms / 1000,
        "socket_connect_timeout": config.connect_ms / 1000,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # RESP3 would ask for maintenance pushes that nothing here listens to
    }


def _pool_bounds(config: RegistryConfig) -> Mapping[str, Any]:
    return {
        "max_connections": config.connections_max,
        "timeout": config.operation_ms / 1000,
    }
