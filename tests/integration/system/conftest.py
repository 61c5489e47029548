"""One real cluster for the tests of the whole path: Ray, Valkey, gRPC, the tiny model."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import httpx
import openai
import pytest
import redis

from orchestrator.live.control_door import ControlDoor
from orchestrator.live.operator_client import ReplicaState, replica_states
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos.messages import ReplicaId
from protos.transport import Transport
from tests.ports import free_ports

PASSWORD = "that-ps-must-not-show"
ANSWER_S_MAX = 60.0  # a slow machine is no failure


@dataclass(frozen=True)
class System:
    """Where the running cluster answers."""

    http_port: int
    grpc_port: int
    control_port: int
    redis_url: str
    internal_tls: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def control(self) -> ControlDoor:
        return ControlDoor(f"127.0.0.1:{self.control_port}", Transport(self.internal_tls))

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)

    def replicas(self) -> tuple[ReplicaState, ...]:
        """As the control plane knows them."""
        return replica_states(self.control, timeout_s=ANSWER_S_MAX)

    def metrics(self) -> str:
        """What the gateway counts."""
        return httpx.get(f"{self.url}/metrics", timeout=ANSWER_S_MAX).raise_for_status().text

    def members(self) -> set[ReplicaId]:
        """As the registry knows them."""

        async def list_members() -> set[ReplicaId]:
            registry = RedisRegistry.connect(
                self.redis_url,
                RegistryConfig(operation_ms=10_000, connect_ms=10_000),  # slow is no failure
            )
            try:
                return {member.record.replica_id for member in await registry.members()}
            finally:
                await registry.close()

        return asyncio.run(list_members())


def with_password(valkey: EmbeddedValkey) -> str:
    """From now on the server asks for one; the URL that has it."""
    admin = redis.Redis.from_url(valkey.url)
    admin.config_set("requirepass", PASSWORD)
    admin.close()
    return valkey.url.replace("//", f"//:{PASSWORD}@")


@contextmanager
def running_system(*, internal_tls: Path | None = None, **choices: str | int) -> Iterator[System]:
    """`blockyard up` in a process of its own, as its users run it, and a Valkey beside it."""
    http_port, grpc_port, control_port = free_ports(3)
    with EmbeddedValkey() as valkey:
        url = with_password(valkey)
        options = {
            "model": "tiny",
            "replicas": 2,
            "http_port": http_port,
            "grpc_port": grpc_port,
            "control_port": control_port,
            "redis": "env:SYSTEM_REDIS",
            **choices,
        }
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        if internal_tls is not None:
            words.append(f"--internal-tls={internal_tls}")
        command = [sys.executable, "-m", "orchestrator", "up", *words]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "SYSTEM_REDIS": url},
        ) as up:
            try:
                assert up.stdout is not None
                said = list(takewhile(lambda line: "Ctrl-C" not in line, up.stdout))
                assert up.poll() is None, "".join(said)
                yield System(http_port, grpc_port, control_port, url, internal_tls)
            finally:
                up.send_signal(signal.SIGINT)
                up.communicate(timeout=300)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(blocks=512) as running:
        yield running
