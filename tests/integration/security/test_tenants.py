"""What a key makes of a request, and what its holder learns of other tenants' ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from orchestrator.gateway.caller import Caller, Limits
from orchestrator.gateway.grant import tenant_salt
from orchestrator.gateway.keyring import Entry, Keyring, Keys, key_digest
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.gateway.resumption import decode_origin
from orchestrator.live.clock import OsClock
from orchestrator.registry.memory import MemoryRegistry
from protos import inference_pb2 as pb
from protos.inference_pb2_grpc import InferenceStub
from protos.messages import RequestClass
from tests.integration.gateway.conftest import Served, serving
from tests.integration.gateway.scripted import ScriptedReplica

pytestmark = pytest.mark.usefixtures("within_a_minute")

COMPLETIONS = "/v1/completions"
CALLERS = {
    "acme": Caller("acme-1", "acme"),
    "acme-batch": Caller("acme-2", "acme", frozenset({RequestClass.BATCH})),
    "other": Caller("other-1", "other"),
    "ops": Caller("ops-1", "ops", is_operator=True),
    "limited": Caller("limited-1", "limited", limits=Limits(requests=2, tokens=1000)),
}


@pytest.fixture
async def served(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> AsyncIterator[Served]:
    ring = Keyring(Entry(key_digest(key), caller) for key, caller in CALLERS.items())
    keys = Keys(RateLimits(RateCounts(OsClock())), ring)
    async with serving(tmp_path, replica, registry, keys) as served:
        yield served


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def complete(
    served: Served, key: str, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    async with served.http() as client:
        return await client.post(
            COMPLETIONS, json={"prompt": "Say", **body}, headers={**bearer(key), **(headers or {})}
        )


@asynccontextmanager
async def grpc_stub(served: Served) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(served.grpc_address) as channel:
        yield InferenceStub(channel)  # type: ignore[no-untyped-call]


async def generate(served: Served, key: str, **fields: Any) -> list[pb.GenerateEvent]:
    async with grpc_stub(served) as stub:
        call = stub.Generate(
            pb.GenerateRequest(text="Say", **fields), metadata=tuple(bearer(key).items())
        )
        async with asyncio.timeout(20):
            return [event async for event in call]


async def ended(call: Any) -> grpc.StatusCode:
    """How it did, after all that it had to say."""
    async with asyncio.timeout(20):
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode(await call.code())


async def test_tenant_class_and_salt_come_from_the_key_by_either_door(served: Served) -> None:
    assert (await complete(served, "acme", user="alice", cache_salt="s")).status_code == 200
    assert (await complete(served, "acme-batch", {"X-Tenant": "acme"})).status_code == 200
    await generate(served, "acme", cache_salt="s", tenant="acme")
    asked = [(r.tenant, r.request_class, r.salt) for r in served.replica.requests]
    salted = ("acme", RequestClass.INTERACTIVE, tenant_salt("acme", b"s"))
    assert asked == [salted, ("acme", RequestClass.BATCH, tenant_salt("acme", b"")), salted]


@pytest.mark.parametrize(
    ("key", "headers", "body", "code"),
    [
        ("acme", {"X-Tenant": "other"}, {}, "tenant_not_allowed"),
        ("acme-batch", {}, {"request_class": "interactive"}, "class_not_allowed"),
        ("acme-batch", {"X-Request-Class": "agent"}, {}, "class_not_allowed"),
    ],
)
async def test_what_a_key_does_not_cover_is_forbidden(
    served: Served, key: str, headers: dict[str, str], body: dict[str, str], code: str
) -> None:
    answer = await complete(served, key, headers, **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)
    fields = {"tenant": headers.get("X-Tenant", ""), **body}
    fields.setdefault("request_class", headers.get("X-Request-Class", ""))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await generate(served, key, **fields)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.value.trailing_metadata()["error-code"] == code
    assert served.replica.requests == []


async def test_decisions_are_for_the_tenant_and_for_operators(served: Served) -> None:
    name = {"X-Request-Id": "mine"}
    own_id = (await complete(served, "acme", name)).json()["id"]
    await complete(served, "other", name)
    async with served.http() as client:

        async def status(key: str, request_id: str) -> tuple[int, dict[str, Any]]:
            answer = await client.get(f"/v1/decisions/{request_id}", headers=bearer(key))
            return answer.status_code, answer.json()

        assert (await status("acme", own_id))[0] == 200
        assert (await status("ops", own_id))[0] == 200
        foreign, unknown = await status("other", own_id), await status("other", "cmpl-never-was")
        assert foreign[0] == unknown[0] == 404
        assert str(foreign[1]).replace(own_id, "cmpl-never-was") == str(unknown[1])
        found = (await status("acme", "mine"))[1]
        assert f"cmpl-{found['request_id']}" == own_id, "the other one of this name is not his"


async def test_two_tenants_may_use_one_name_at_one_time_and_cancel_only_their_own(
    served: Served,
) -> None:
    served.replica.held_after = 2
    async with grpc_stub(served) as stub:
        calls = {
            key: stub.Generate(
                pb.GenerateRequest(text="Say", request_id="same"),
                metadata=tuple(bearer(key).items()),
            )
            for key in ("acme", "other")
        }
        for call in calls.values():
            started = (await call.read()).started
            assert started.request_id == "same"
            await call.read()

        async def cancel(key: str, request_id: str) -> bool:
            request = pb.CancelRequest(request_id=request_id)
            metadata = tuple(bearer(key).items())
            return bool((await stub.Cancel(request, metadata=metadata)).found)

        assert not await cancel("other", "acme/same")
        assert not await cancel("limited", "same")
        assert await cancel("other", "same")
        assert await ended(calls["other"]) is grpc.StatusCode.CANCELLED
        assert not calls["acme"].done(), "it is another one's"
        assert await cancel("ops", "acme/same"), "an operator may end anything"
        assert await ended(calls["acme"]) is grpc.StatusCode.CANCELLED


async def test_another_tenants_answer_is_not_gone_on_with(served: Served) -> None:
    """With its resume token, or with one made up for the same id, whose seal is right."""
    seeded = {"sampling": pb.SamplingOptions(seed=7)}  # else it follows from the id
    await generate(served, "other", **seeded)
    (own,) = served.replica.requests
    served.replica.held_after = 2
    async with grpc_stub(served) as stub:
        theirs = stub.Generate(
            pb.GenerateRequest(text="Say", request_id="theirs"),
            metadata=tuple(bearer("acme").items()),
        )
        stolen = (await theirs.read()).started.resume_token
        origin = decode_origin(stolen, param="resume_token")
        assert origin.request_id == "acme/theirs"
        forged = replace(origin, tokens_max=own.sampling.tokens_max).sealed(own, stop=())
        for token in (stolen, forged.encode()):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await generate(served, "other", resume_token=token, resumed_tokens=[1], **seeded)
            assert refused.value.trailing_metadata()["error-code"] == "resume_token_mismatch"
        served.replica.release.set()
        assert await ended(theirs) is grpc.StatusCode.OK, "it went on undisturbed"


async def test_limits_are_told_in_headers_and_end_in_429(served: Served) -> None:
    for left in ("1", "0"):
        answer = await complete(served, "limited", max_tokens=3)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
        assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    refused = await complete(served, "limited")
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert (await complete(served, "acme")).status_code == 200, "others are not concerned"
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await generate(served, "limited")
    assert told.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    metadata = told.value.trailing_metadata()
    assert metadata["error-code"] == "rate_limit_exceeded"
    assert int(metadata["retry-after-s"]) >= 1
    assert metadata["x-ratelimit-limit-requests"] == "2"


async def test_answers_are_charged_and_grpc_tells_what_is_left(served: Served) -> None:
    async with grpc_stub(served) as stub:
        call = stub.Generate(
            pb.GenerateRequest(text="Say", sampling=pb.SamplingOptions(max_tokens=3)),
            metadata=tuple(bearer("limited").items()),
        )
        async for _ in call:
            pass
        metadata = await call.trailing_metadata()
    assert metadata["x-ratelimit-remaining-tokens"] == "997", "a prompt of three tokens"
    answer = await complete(served, "limited", max_tokens=3)
    assert answer.headers["x-ratelimit-remaining-tokens"] == "991", "3 answered, 3 asked again"


async def test_a_request_of_another_tenant_cannot_be_explained(served: Served) -> None:
    answer = await complete(served, "acme", {"x-request-id": "mine"})
    assert answer.status_code == 200
    seen = {}
    async with served.http() as client:
        for key in ("acme", "other", "ops"):
            response = await client.get("/v1/requests/mine/explain", headers=bearer(key))
            seen[key] = response.status_code
    assert seen == {"acme": 200, "other": 404, "ops": 200}
    async with grpc_stub(served) as stub:
        asked = stub.Explain(
            pb.ExplainRequest(request_id="mine"), metadata=tuple(bearer("other").items())
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asked
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


LOAD = (
    "queue_s",
    "prefill_s",
    "blocks_missing",
    "total_s",
    "ahead",
    "blocks left",
    "estimated cost",
)


@pytest.mark.parametrize("prompt", ["Say", "x" * 2000], ids=["answered", "turned away"])
async def test_only_operators_are_told_how_busy_others_make_the_cluster(
    served: Served, prompt: str
) -> None:
    """What a queue costs, or how much room is left, measures the prompts of other tenants."""
    await complete(served, "acme", {"x-request-id": "mine"}, prompt=prompt)
    told = {}
    async with served.http() as client:
        for key in ("acme", "ops"):
            paths = ("/v1/decisions/mine", "/v1/requests/mine/explain")
            answers = [await client.get(path, headers=bearer(key)) for path in paths]
            assert [answer.status_code for answer in answers] == [200, 200]
            told[key] = [answer.text for answer in answers]
    async with grpc_stub(served) as stub:
        for key in ("acme", "ops"):
            asked = pb.ExplainRequest(request_id="mine")
            told[key].append(str(await stub.Explain(asked, metadata=tuple(bearer(key).items()))))
    assert [word for text in told["acme"] for word in LOAD if word in text] == []
    for text in told["ops"]:
        assert any(word in text for word in LOAD)
    own = told["acme"][0]
    assert "hit_blocks" in own if prompt == "Say" else "never_fits" in own


async def test_how_full_the_pools_are_is_for_operators(served: Served) -> None:
    async with served.http() as client:
        told = [await client.get("/metrics", headers=bearer(key)) for key in ("acme", "ops")]
    assert [answer.status_code for answer in told] == [403, 200]
    assert told[0].json()["error"]["code"] == "operator_only"
