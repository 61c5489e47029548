"""Who may do what: users limited to the prefix, and URLs that are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.keys import Keys
from orchestrator.registry.redis import RedisRegistry
from protos.registry import BlockBatch, Leader, RegistryUnavailable
from tests.conformance.registry.users import User
from tests.conformance.registry.world import chain, record
from tests.integration.registry.announcing import assert_heard

pytestmark = pytest.mark.redis

PROMPT = chain("prompt", 40)
BOUND_S = 20.0


async def add_user(admin: Redis, name: str, grants: str) -> None:
    command = ["ACL", "SETUSER", name, "on", ">secret", *grants.split()]
    await admin.execute_command(*command)  # type: ignore[no-untyped-call]


def as_user(valkey: EmbeddedValkey, name: str, config: RegistryConfig) -> RedisRegistry:
    return RedisRegistry.connect(valkey.url.replace("//", f"//{name}:secret@"), config)


async def test_a_user_limited_to_the_prefix_can_do_everything_there(
    valkey: EmbeddedValkey, admin: Redis, config: RegistryConfig
) -> None:
    await add_user(admin, "yard", " ".join(User.REPLICA.grants))
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
    await add_user(admin, "gateway", " ".join(User.GATEWAY.grants))
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


@pytest.mark.parametrize(
    "command", ["set", "del", "evalsha", "keys", "flushall", "psubscribe", "config", "incr"]
)
async def test_a_gateway_may_do_no_command_more(
    valkey: EmbeddedValkey, admin: Redis, command: str
) -> None:
    await add_user(admin, "gateway", " ".join(User.GATEWAY.grants))
    arguments = {"set": ["orch:a", "b"], "evalsha": ["0" * 40, "0"], "config": ["get", "*"]}
    words = [command, *arguments.get(command, ["orch:a"] if command != "flushall" else [])]
    gateway = Redis.from_url(valkey.url.replace("//", "//gateway:secret@"), protocol=2)
    with pytest.raises(NoPermissionError):
        await gateway.execute_command(*words)  # type: ignore[no-untyped-call]
    await gateway.aclose()


@pytest.mark.parametrize("grant", User.GATEWAY.grants)
async def test_a_gateway_needs_every_grant_that_is_documented(
    valkey: EmbeddedValkey, admin: Redis, registry: RedisRegistry, grant: str
) -> None:
    """Each on its own is taken away; something of what a gateway does is refused then."""
    grants = [each for each in User.GATEWAY.grants if each != grant]
    await add_user(admin, "gateway", " ".join(grants))
    await registry.join(record("a"))
    gateway = Redis.from_url(valkey.url.replace("//", "//gateway:secret@"), protocol=2)
    keys = Keys("orch:")
    with pytest.raises(NoPermissionError):
        await gateway.mget(keys.slots, keys.lease(0))
        await gateway.hgetall(keys.records)
        await gateway.get(keys.leader)
        await gateway.publish(keys.placements, b"")
        subscription = gateway.pubsub()
        await subscription.subscribe(keys.placements)
        await subscription.ping()
        for _ in range(2):
            await subscription.get_message(timeout=BOUND_S)
        await subscription.unsubscribe(keys.placements)
        await subscription.get_message(timeout=BOUND_S)
        await gateway.execute_command("CLIENT", "GETNAME")  # type: ignore[no-untyped-call]
    await gateway.aclose()


async def test_gateways_with_the_documented_user_hear_each_other_and_nobody_else(
    valkey: EmbeddedValkey, admin: Redis, config: RegistryConfig
) -> None:
    await add_user(admin, "gateway", " ".join(User.GATEWAY.grants))
    url = valkey.url.replace("//", "//gateway:secret@")
    await assert_heard(url, config)
    elsewhere = Redis.from_url(url, protocol=2)
    with pytest.raises(NoPermissionError):
        await elsewhere.publish("other:placements", b"")
    await elsewhere.aclose()


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
        "redis+sentinel://:hunter2@localhost:26379",
        "redis+sentinel://:hunter2@localhost:26379/master/first",
        "redis+sentinel://:hunter2@localhost:port/master",
        "redis+sentinel://:hunter2@localhost,:26379/master",
        "redis+sentinel://:hunter2@localhost/master?no_such_option=1",
        "rediss+sentinel://:hunter2@localhost/master?no_such_option=1",
    ],
)
def test_a_url_that_is_none_is_refused_in_a_sentence(url: str, config: RegistryConfig) -> None:
    with pytest.raises(ValueError, match="must read redis://") as refusal:
        RedisRegistry.connect(url, config)
    assert "hunter2" not in str(refusal.value)
