"""The Secrets and the configuration make a Redis that lets in whom it should."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from orchestrator.gateway.keys_file import parse_keys
from orchestrator.registry.redis import RedisRegistry
from orchestrator.registry.shared_counters import SharedCounters
from protos.registry import BlockBatch, RegistryUnavailable
from tests.conformance.registry.world import chain, record
from tests.deploy.redis_server import (
    PATIENT,
    WITHIN_S,
    Server,
    answers,
    embedded,
    launched,
    running,
    secrets,
)
from tests.deploy.rendering import Manifest, only, overlay, pods
from tests.integration.registry.announcing import assert_heard
from tests.waiting import wait_for

pytestmark = pytest.mark.redis

PROMPT = chain("prompt", 8)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, tls=request.param) as server:
        yield server


async def test_replicas_write_to_the_registry_and_gateways_only_read(server: Server) -> None:
    writer = RedisRegistry.connect(server.registry_url("url"), PATIENT)
    reader = RedisRegistry.connect(server.registry_url("url-readonly"), PATIENT)
    membership = await writer.join(record("a"))
    assert await writer.publish(membership, BlockBatch(0, PROMPT))
    assert await reader.locate(PROMPT) == {"a": len(PROMPT)}
    assert await writer.lead("one", "here:8802") is not None
    with pytest.raises(RegistryUnavailable):
        await reader.join(record("b"))
    await writer.leave(membership)
    await writer.close()
    await reader.close()


async def test_gateways_tell_each_other_of_placements(server: Server) -> None:
    await assert_heard(server.registry_url("url-readonly"), PATIENT)


def test_ray_keeps_its_state_beside_the_registry_and_out_of_it(server: Server) -> None:
    credentials = server.secrets["blockyard-gcs"]
    url = server.url_of(credentials["username"], credentials["password"])
    with redis.Redis.from_url(url, protocol=2) as ray:
        ray.hset("RAYdefault@KV", "key", "value")
        assert ray.hget("RAYdefault@KV", "key") == b"value"
        assert ray.get("DUMMY") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            ray.get("orch:anything")


async def test_gateways_count_for_rate_limits_and_write_nothing_else(server: Server) -> None:
    url = server.registry_url("url-readonly")
    counters = SharedCounters(url, PATIENT.prefix, answer_ms=PATIENT.operation_ms)
    assert await counters.acquire_sliding_window_entry("tenant", 2, 60)
    assert await counters.acquire_sliding_window_entry("tenant", 2, 60)
    assert not await counters.acquire_sliding_window_entry("tenant", 2, 60)
    assert (await counters.get_sliding_window("tenant", 60))[2] == 2
    await counters.close()
    with redis.Redis.from_url(url, protocol=2) as gateway:
        for key in ("orch:anything", "RAYdefault@KV", "elsewhere"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                gateway.set(key, "mine")


def test_who_writes_to_the_registry_stays_in_its_key_space(server: Server) -> None:
    with redis.Redis.from_url(server.registry_url(), protocol=2) as writer:
        writer.set("orch:anything", "mine")
        for key in ("RAYdefault@KV", "DUMMY", "elsewhere"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                writer.get(key)
            with pytest.raises(redis.exceptions.NoPermissionError):
                writer.set(key, "mine")
        with pytest.raises(redis.exceptions.NoPermissionError):
            writer.flushall()


async def test_a_server_that_asks_for_a_certificate_is_shown_the_one_in_the_url(
    tmp_path: Path,
) -> None:
    with running(tmp_path, tls=True, asks_clients=True) as server:
        registry = RedisRegistry.connect(server.registry_url(), PATIENT)
        assert await registry.members() == ()
        await registry.close()
        shows_nothing = server.registry_url().replace(server.shown, "")
        stranger = RedisRegistry.connect(shows_nothing, PATIENT)
        with pytest.raises(RegistryUnavailable):
            await stranger.members()
        await stranger.close()


def test_nobody_comes_in_without_a_name(server: Server) -> None:
    url = server.url_of("", "")
    with (
        redis.Redis.from_url(url.replace(":@", ""), protocol=2) as nobody,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        nobody.get("orch:anything")


def test_the_probe_may_ping_and_nothing_else(server: Server) -> None:
    with redis.Redis.from_url(server.url_of("probe", "none"), protocol=2) as probe:
        assert probe.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            probe.get("orch:anything")


def test_a_stranger_who_does_not_trust_the_ca_hangs_up(tmp_path: Path) -> None:
    with running(tmp_path, tls=True) as server:
        url = server.registry_url().split("?")[0]
        with (
            redis.Redis.from_url(url, protocol=2) as client,
            pytest.raises(redis.exceptions.ConnectionError, match="certificate verify failed"),
        ):
            client.ping()


def test_what_was_written_survives_a_killed_server(tmp_path: Path) -> None:
    with (
        running(tmp_path, tls=False) as server,
        redis.Redis.from_url(server.registry_url(), protocol=2) as writer,
    ):
        writer.set("orch:anything", "kept")
    with launched(tmp_path, embedded(), str(tmp_path / "redis.conf")):
        wait_for(lambda: answers(server), within_s=WITHIN_S, what="it is back")
        with redis.Redis.from_url(server.registry_url(), protocol=2) as writer:
            assert writer.get("orch:anything") == b"kept"


def test_a_full_server_refuses_and_drops_nothing(tmp_path: Path) -> None:
    with (
        running(tmp_path, tls=False, memory="4mb") as server,
        redis.Redis.from_url(server.registry_url(), protocol=2) as writer,
    ):
        written = 0
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            for written in range(1_000):
                writer.set(f"orch:{written}", "x" * 100_000)
        assert written
        assert all(writer.exists(f"orch:{number}") for number in range(written))


def secrets_wanted(objects: list[Manifest]) -> set[tuple[str, str | None]]:
    """Every Secret and key that pods and Ray's fault tolerance ask for."""
    options = only(objects, "RayService")["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    of_ray = [options[field]["valueFrom"] for field in ("redisUsername", "redisPassword")]
    containers = [c for pod in pods(objects) for c in pod["spec"]["containers"]]
    of_pods = [v.get("valueFrom", {}) for c in containers for v in c.get("env", ())]
    volumes = [v for pod in pods(objects) for v in pod["spec"].get("volumes", ())]
    references = [source["secretKeyRef"] for source in of_ray + of_pods if "secretKeyRef" in source]
    return {(r["name"], r["key"]) for r in references} | {
        (volume["secret"]["secretName"], None) for volume in volumes if "secret" in volume
    }


def test_the_script_writes_every_secret_that_is_asked_for() -> None:
    written = secrets()
    for name, key in secrets_wanted(overlay("prod")):
        assert key is None or key in written[name]
        assert written[name]


def test_the_operators_key_opens_what_the_keys_file_says() -> None:
    written = secrets()
    keyring = parse_keys(written["blockyard-api-keys"]["keys.toml"].encode())
    caller = keyring.caller(written["blockyard-operator-key"]["key"], datetime.now(UTC))
    assert caller.is_operator
    assert written["blockyard-operator-key"]["key"] not in str(written["blockyard-api-keys"])


def test_no_two_clusters_get_the_same_passwords() -> None:
    first, second = secrets(), secrets()
    assert first["blockyard-gcs"]["password"] != second["blockyard-gcs"]["password"]
    assert first["blockyard-registry"]["url"] != second["blockyard-registry"]["url"]


def test_the_acl_holds_hashes_and_no_password() -> None:
    written = secrets()
    acl = written["blockyard-redis-acl"]["users.acl"]
    assert written["blockyard-gcs"]["password"] not in acl
    assert "nopass" not in acl.replace("user probe on nopass", "")


def test_the_certificate_names_the_service(tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.write_text(secrets()["blockyard-redis-tls"]["tls.crt"])
    text = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "DNS:blockyard-redis," in text
    assert "DNS:blockyard-redis.blockyard.svc" in text
