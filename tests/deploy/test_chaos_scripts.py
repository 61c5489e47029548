"""What chaos runs inside pods, tried: on a Redis with the manifests' users, on processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from orchestrator.live.chaos import in_pod
from orchestrator.registry.redis import RedisRegistry
from tests.conformance.registry.world import record
from tests.deploy.redis_server import PATIENT, Server, running

pytestmark = pytest.mark.redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, tls=False) as server:
        yield server


def in_a_pod(script: str, server: Server) -> str:
    """As a control plane's pod runs it, with the environment that it has."""
    verdict = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "BLOCKYARD_REDIS_URL": server.registry_url("url")},
        capture_output=True,
        text=True,
        check=True,
    )
    return verdict.stdout.strip()


async def test_the_registry_is_forgotten_and_rays_keys_stay(server: Server) -> None:
    registry = RedisRegistry.connect(server.registry_url("url"), PATIENT)
    await registry.join(record("a"))
    credentials = server.secrets["blockyard-gcs"]
    url = server.url_of(credentials["username"], credentials["password"])
    with redis.Redis.from_url(url, protocol=2) as ray:
        ray.hset("RAYdefault@KV", "key", "value")
        in_a_pod(in_pod.FLUSH, server)
        assert await registry.members() == ()
        assert ray.hget("RAYdefault@KV", "key") == b"value"
    await registry.close()


async def test_the_leaders_address_is_read(server: Server) -> None:
    assert in_a_pod(in_pod.LEADER, server) == ""
    registry = RedisRegistry.connect(server.registry_url("url"), PATIENT)
    await registry.lead("one", "10.0.0.7:8802")
    assert in_a_pod(in_pod.LEADER, server) == "10.0.0.7:8802"
    await registry.close()
