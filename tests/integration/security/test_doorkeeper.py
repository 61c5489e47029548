"""Two gateways put together as in the live world: one keys file, one Redis to count in."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from orchestrator.config import Deployment
from orchestrator.gateway.keyring import key_digest
from orchestrator.gateway.keys_file import BadKeysFile
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.live.clock import OsClock
from orchestrator.live.doorkeeper import Doorkeeper
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.memory import MemoryRegistry
from tests.integration.control.until import until_true
from tests.integration.gateway.conftest import serving
from tests.integration.gateway.scripted import ScriptedReplica

pytestmark = pytest.mark.redis

NOWHERE = "redis://127.0.0.1:1"


def entry(key: str) -> str:
    return (
        f'[[key]]\nname = "{key}"\nsha256 = "{key_digest(key).hex()}"\ntenant = "acme"\n'
        "requests_per_minute = 3\n"
    )


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


def replace_keys(path: Path, key: str) -> None:
    path.write_text(entry(key))


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    replace_keys(path, "first")
    return path


def doorkeeper(redis_url: str, keys_file: Path | None, host: str = "127.0.0.1") -> Doorkeeper:
    deployment = Deployment(redis_url=redis_url, keys_file=keys_file, host=host)
    return Doorkeeper(deployment, OsClock(), GatewayMetrics())


@pytest.fixture
async def clients(
    tmp_path: Path,
    keys_file: Path,
    valkey: EmbeddedValkey,
    replica: ScriptedReplica,
    registry: MemoryRegistry,
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Of two gateways."""
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            keeper = doorkeeper(valkey.url, keys_file)
            await keeper.start()
            stack.push_async_callback(keeper.stop)
            served = await stack.enter_async_context(
                serving(tmp_path, replica, registry, keeper.keys)
            )
            clients.append(await stack.enter_async_context(served.http()))
        yield clients


async def status(client: httpx.AsyncClient, key: str) -> int:
    body = {"prompt": "Say", "max_tokens": 1}
    answer = await client.post("/v1/completions", json=body, headers={"x-api-key": key})
    return answer.status_code


async def test_gateways_count_together_and_notice_a_changed_file_by_themselves(
    clients: list[httpx.AsyncClient], keys_file: Path
) -> None:
    one, other = clients
    assert [await status(each, "first") for each in (one, other, one)] == [200, 200, 200]
    assert await status(other, "first") == 429, "the other gateway's count"
    replace_keys(keys_file, "second")
    for client in clients:

        async def is_noticed(client: httpx.AsyncClient = client) -> bool:
            models = await client.get("/v1/models", headers={"x-api-key": "second"})
            return models.status_code == 200

        await until_true(is_noticed, "the second key is known")
        assert await status(client, "first") == 401


@pytest.mark.usefixtures("within_a_minute")
async def test_without_redis_nobody_is_sent_away_who_is_within_his_limit(
    tmp_path: Path, keys_file: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> None:
    keeper = doorkeeper(NOWHERE, keys_file)
    async with serving(tmp_path, replica, registry, keeper.keys) as served, served.http() as client:
        assert [await status(client, "first") for _ in range(4)] == [200, 200, 200, 429]
    await keeper.stop()


async def test_doors_that_others_reach_say_that_they_are_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        doorkeeper(NOWHERE, None)
        doorkeeper(NOWHERE, None, host="localhost")
        assert caplog.messages == []
        doorkeeper(NOWHERE, None, host="0.0.0.0")
    assert caplog.messages == ["no keys file: whoever reaches 0.0.0.0 may ask anything"]


async def test_a_keys_file_that_is_wrong_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadKeysFile, match=r"keys\.toml: No such file"):
        doorkeeper(NOWHERE, tmp_path / "keys.toml")
