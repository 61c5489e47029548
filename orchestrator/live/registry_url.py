"""The registry that all processes of a deployment share, wherever its URL is written.

A URL may carry a password, and the file that describes a Serve application
is no place for one: `env:NAME` says that every process finds the URL in its
own environment. Nodes may be given different users of the same server that
way; a gateway needs only to read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from orchestrator.config import Deployment
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.redis_announcer import RedisAnnouncer
from protos.messages import ReplicaId
from protos.registry import Leader

FROM_ENVIRONMENT = "env:"
FIRST_ANSWER_MS = 5_000  # of a registry that may be far away, or asleep


def connect_registry(deployment: Deployment) -> RedisRegistry:
    """Does no I/O yet. ValueError when there is no URL, or when it is none."""
    return RedisRegistry.connect(registry_url(deployment, os.environ), RegistryConfig())


def connect_announcer(deployment: Deployment) -> RedisAnnouncer:
    """The gateways' channel on the same server, inside a running event loop."""
    return RedisAnnouncer.connect(registry_url(deployment, os.environ), RegistryConfig())


def registry_url(deployment: Deployment, environment: Mapping[str, str]) -> str:
    """Where the deployment's registry is. ValueError when nobody has said."""
    return resolved(deployment.redis_url, environment)


def resolved(url: str, environment: Mapping[str, str]) -> str:
    """The URL itself, or what the variable it names holds. ValueError when that is nothing."""
    if not url.startswith(FROM_ENVIRONMENT):
        return url
    name = url.removeprefix(FROM_ENVIRONMENT)
    found = environment.get(name)
    if not found:
        raise ValueError(f"the registry's URL should be in {name!r}, which is not set on this node")
    return found


def without_password(url: str) -> str:
    """Where a URL points, without who may go there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def members_at(redis_url: str) -> tuple[ReplicaId, ...]:
    """Replicas that hold a lease there already."""
    registry = RedisRegistry.connect(redis_url, RegistryConfig(operation_ms=FIRST_ANSWER_MS))
    try:
        return tuple(member.record.replica_id for member in await registry.members())
    finally:
        await registry.close()


async def leader_at(redis_url: str) -> Leader | None:
    """The control plane that leads there now."""
    registry = RedisRegistry.connect(redis_url, RegistryConfig(operation_ms=FIRST_ANSWER_MS))
    try:
        return await registry.leader()
    finally:
        await registry.close()
