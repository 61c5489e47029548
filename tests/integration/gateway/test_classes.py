"""What clients say of a request's class and tenant reaches the replica, by either door."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from protos import inference_pb2 as pb
from protos.inference_pb2_grpc import InferenceStub
from protos.messages import RequestClass
from tests.integration.gateway.conftest import Served

COMPLETIONS = "/v1/completions"


async def test_a_class_and_a_user_come_with_openais_client(served: Served) -> None:
    async with served.openai() as client:
        await client.chat.completions.create(
            model="bytes",
            messages=[{"role": "user", "content": "Hi"}],
            user="alice",
            extra_body={"request_class": "batch"},
        )
    (request,) = served.replica.requests
    assert (request.request_class, request.tenant) == (RequestClass.BATCH, "alice")


async def test_headers_say_it_for_clients_that_cannot(served: Served) -> None:
    headers = {"X-Request-Class": "agent", "X-Tenant": "team-7"}
    async with served.http() as client:
        await client.post(COMPLETIONS, json={"prompt": ["Say", "it"]}, headers=headers)
        await client.post(COMPLETIONS, json={"prompt": "Say"})
    *both, plain = served.replica.requests
    assert {(r.request_class, r.tenant) for r in both} == {(RequestClass.AGENT, "team-7")}
    assert (plain.request_class, plain.tenant) == (RequestClass.INTERACTIVE, "")


async def test_an_unknown_class_is_the_clients_mistake(served: Served) -> None:
    async with served.http() as client:
        answer = await client.post(
            COMPLETIONS, json={"prompt": "Say"}, headers={"X-Request-Class": "vip"}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unknown_class"
    assert answer.json()["error"]["param"] == "X-Request-Class"
    assert served.replica.requests == []


async def generate(served: Served, **fields: Any) -> None:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        stub: Any = InferenceStub(channel)  # type: ignore[no-untyped-call]
        async for _ in stub.Generate(pb.GenerateRequest(text="Say", **fields), timeout=20):
            pass


async def test_grpc_has_fields_for_both(served: Served) -> None:
    await generate(served, request_class="agent", tenant="team-7")
    await generate(served)
    said, silent = served.replica.requests
    assert (said.request_class, said.tenant) == (RequestClass.AGENT, "team-7")
    assert (silent.request_class, silent.tenant) == (RequestClass.INTERACTIVE, "")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await generate(served, request_class="vip")
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
