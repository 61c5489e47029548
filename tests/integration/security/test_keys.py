"""Who gets in, by HTTP and by gRPC, and what he is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from orchestrator.gateway.caller import Caller
from orchestrator.gateway.keyring import Entry, Keyring, Keys, key_digest
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock
from orchestrator.registry.memory import MemoryRegistry
from protos import inference_pb2 as pb
from protos.inference_pb2_grpc import InferenceStub
from tests.integration.gateway.conftest import Served, serving
from tests.integration.gateway.scripted import ScriptedReplica

ACME, OPERATOR, EXPIRED = "by-acme", "by-operator", "by-expired"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def keyring(*, metrics_are_open: bool = False) -> Keyring:
    past = datetime.now(UTC) - timedelta(seconds=1)
    return Keyring(
        (
            Entry(key_digest(ACME), Caller("acme-1", "acme")),
            Entry(key_digest(OPERATOR), Caller("ops", "ops", is_operator=True)),
            Entry(key_digest(EXPIRED), Caller("acme-old", "acme"), expires=past),
        ),
        metrics_are_open=metrics_are_open,
    )


@pytest.fixture
def keys() -> Keys:
    return Keys(RateLimits(RateCounts(OsClock())), keyring())


@pytest.fixture
async def served(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry, keys: Keys
) -> AsyncIterator[Served]:
    async with serving(tmp_path, replica, registry, keys) as served:
        yield served


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {ACME}"},
        {"authorization": f"Bearer {EXPIRED}"},
        {"x-api-key": "wrong"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/decisions/req-1", "/nowhere", "/ui/state"])
async def test_without_a_good_key_nothing_is_told(
    served: Served, headers: dict[str, str], path: str
) -> None:
    async with served.http() as client:
        response = await client.get(path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]
    assert response.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {ACME}"}, {"authorization": f"bearer {ACME}"}, {"x-api-key": ACME}],
)
async def test_a_good_key_opens_http(served: Served, headers: dict[str, str]) -> None:
    async with served.http() as client:
        response = await client.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert response.status_code == 200


async def test_a_revoked_key_opens_nothing_any_more(served: Served, keys: Keys) -> None:
    headers = {"x-api-key": ACME}
    async with served.http() as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
        keys.keyring = Keyring(())
        assert (await client.get("/v1/models", headers=headers)).status_code == 401


async def test_probes_need_no_key(served: Served) -> None:
    async with served.http() as client:
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert (await client.get(path)).status_code == 200, path


async def test_metrics_are_for_operators_unless_the_file_opens_them(
    served: Served, keys: Keys
) -> None:
    for metrics_are_open, expected in ((False, [401, 403, 200]), (True, [200, 200, 200])):
        keys.keyring = keyring(metrics_are_open=metrics_are_open)
        async with served.http() as client:
            statuses = [
                (await client.get("/metrics", headers=headers)).status_code
                for headers in ({}, {"x-api-key": ACME}, {"x-api-key": OPERATOR})
            ]
        assert statuses == expected


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)])
async def test_grpc_without_a_good_key_is_unauthenticated(
    served: Served, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = InferenceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListModels(pb.ListModelsRequest(), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert refused.value.trailing_metadata()["error-code"] == "invalid_api_key"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in stub.Generate(pb.GenerateRequest(text="hello"), metadata=metadata):
                pass
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("header", [("authorization", f"Bearer {ACME}"), ("x-api-key", ACME)])
async def test_a_good_key_opens_grpc(served: Served, header: tuple[str, str]) -> None:
    request = pb.GenerateRequest(text="hello", sampling=pb.SamplingOptions(max_tokens=3))
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = InferenceStub(channel)  # type: ignore[no-untyped-call]
        events = [event async for event in stub.Generate(request, metadata=(header,))]
    assert events[-1].WhichOneof("event") == "usage"
