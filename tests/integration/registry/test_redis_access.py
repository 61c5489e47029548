"""Who may do what: users limited to the prefix, and URLs that are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.redis import RedisRegistry
from protos.registry import BlockBatch, Leader, RegistryUnavailable
from tests.conformance.registry.world import chain, record

pytestmark = pytest.mark.redis

PROMPT = chain("prompt", 40)


async def add_user(admin: Redis, name: str, grants: str) -> None:
    command = ["ACL", "SETUSER", name, "on", ">secret", *grants.split()]
    await admin.execute_command(*command)  # type: ignore[no-untyped-call]


def as_user(valkey: EmbeddedValkey, name: str, config: RegistryConfig) -> RedisRegistry:
    return RedisRegistry.connect(valkey.url.replace("//", f"//{name}:secret@"), config)


async def test_a_user_limited_to_the_prefix_can_do_everything_there(
    valkey: EmbeddedValkey, admin: Redis, config: RegistryConfig
) -> None:
    grants = "~orch:* &orch:* +@read +@write +@connection +@scripting -@dangerous"
    await add_user(admin, "yard", grants)
    registry = as_user(valkey, "yard", config)
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, PROMPT))
    assert await registry.publish(membership, BlockBatch(1, PROMPT[:20], complete=True))
    assert await registry.locate(PROMPT) == {"a": 20}
    assert await registry.renew(membership, draining=True)
    assert len(await registry.members()) == 1
    term = await registry.lead("one", "here:7000")
    assert term is not None
    assert await registry.leader() == Leader("here:7000", term)
    await registry.resign("one")
    again = await registry.join(record("a"))
    await registry.leave(again)
    await registry.close()

    elsewhere = as_user(valkey, "yard", replace(config, prefix="other:"))
    with pytest.raises(RegistryUnavailable):
        await elsewhere.join(record("a"))
    await elsewhere.close()


async def test_a_reader_needs_three_commands_and_can_write_nothing(
    valkey: EmbeddedValkey, admin: Redis, registry: RedisRegistry, config: RegistryConfig
) -> None:
    grants = "%R~orch:* +@connection +mget +hgetall +get"
    await add_user(admin, "gateway", grants)
    membership = await registry.join(record("a"))
    assert await registry.publish(membership, BlockBatch(0, PROMPT))
    reader = as_user(valkey, "gateway", config)
    assert await reader.locate(PROMPT) == {"a": 40}
    assert len(await reader.members()) == 1
    assert await reader.leader() is None
    with pytest.raises(RegistryUnavailable):
        await reader.join(record("b"))
    with pytest.raises(RegistryUnavailable):
        await reader.lead("one", "here:7000")
    await reader.close()


async def test_a_wrong_password_is_unavailable(
    valkey: EmbeddedValkey, config: RegistryConfig
) -> None:
    registry = as_user(valkey, "nobody", config)
    with pytest.raises(RegistryUnavailable):
        await registry.members()
    await registry.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost:6379",
        "redis://:hunter2@localhost:port",
        "redis://:hunter2@localhost:99999",
        "redis://:hunter2@localhost?no_such_option=1",
        "redis://:hunter2@localhost?db=first",
    ],
)
def test_a_url_that_is_none_is_refused_in_a_sentence(url: str, config: RegistryConfig) -> None:
    with pytest.raises(ValueError, match="must read redis://") as refusal:
        RedisRegistry.connect(url, config)
    assert "hunter2" not in str(refusal.value)
