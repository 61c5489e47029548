"""The registry that all processes of a deployment share, wherever its URL is written.

A URL may carry a password, and the file that describes a Serve application
is no place for one: `env:NAME` says that every process finds the URL in its
own environment. Nodes may be given different users of the same server that
way; a gateway needs only to read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from orchestrator.config import Deployment
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry

FROM_ENVIRONMENT = "env:"


def connect_registry(deployment: Deployment) -> RedisRegistry:
    """Does no I/O yet. ValueError when there is no URL, or when it is none."""
    return RedisRegistry.connect(registry_url(deployment, os.environ), RegistryConfig())


def registry_url(deployment: Deployment, environment: Mapping[str, str]) -> str:
    """`redis_url` itself, or what the variable it names holds. ValueError when that is nothing."""
    if not deployment.redis_url.startswith(FROM_ENVIRONMENT):
        return deployment.redis_url
    name = deployment.redis_url.removeprefix(FROM_ENVIRONMENT)
    url = environment.get(name)
    if not url:
        raise ValueError(f"the registry's URL should be in {name!r}, which is not set on this node")
    return url
