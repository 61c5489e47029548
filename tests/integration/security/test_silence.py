"""A whole cluster at its most talkative: no prompt is in anything it says, and no key.

Prompts go in by every way there is, good and bad ones, with a key that opens
and with one that does not, and answers come out; the registry has a password.
Then everything that every process has said, and what it counts, is searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from orchestrator.gateway.keyring import key_digest
from orchestrator.live.chaos.process import Process
from orchestrator.live.chaos.redis import command
from protos import inference_pb2 as pb
from protos.inference_pb2_grpc import InferenceStub
from tests.integration.cluster.watched import Watched

# In no word of ours, and not to be split by a tokenizer of bytes or a line break.
PROMPT = "zebra-in-a-top-hat"
KEY = "quagga-key"
WRONG_KEY = "okapi-key"
PASSWORD = "numbat-password"
TIMEOUT_S = 60.0


@dataclass
class Talkative(Watched):
    """Everybody says everything, and has secrets."""

    keys: Path = Path()

    def _add(self, name: str, words: tuple[str, ...]) -> str:
        super()._add(name, words)
        quiet = self.members[name]
        mine = [word.replace("redis://", f"redis://:{PASSWORD}@") for word in quiet.words]
        if words[0] == "gateway":
            mine.append(f"--keys={self.keys}")
        loud = (*mine, "--log-level=debug")
        self.members[name] = Process(name, loud, quiet.folder, quiet.forks)
        return name


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talkative]:
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    keys.write_text(
        'metrics = "open"\n'  # for who looks whether the cluster is healthy
        f'[[key]]\nname = "zoo-1"\ntenant = "zoo"\nsha256 = "{key_digest(KEY).hex()}"\n'
    )
    with Talkative(keys=keys) as cluster:
        command(cluster.redis.port, f"CONFIG SET requirepass {PASSWORD}")
        cluster.start(replicas=("a",))
        yield cluster


def everything_said(cluster: Talkative) -> str:
    """By every process since it was started, and what gateways count."""
    said = [path.read_text(errors="replace") for path in sorted(cluster.logs.iterdir())]
    return "\n".join((*said, *cluster.metrics().values()))


BODIES: tuple[dict[str, Any], ...] = (
    {"prompt": PROMPT},
    {"prompt": [PROMPT, PROMPT], "stream": True, "n": 2},
    {"prompt": PROMPT, "logprobs": 2, "stop": [PROMPT], "cache_salt": PROMPT},
    {"prompt": PROMPT, "structured_outputs": {"choice": [PROMPT]}},
    {"prompt": PROMPT, "structured_outputs": {"regex": f"({PROMPT}"}},
    {"prompt": PROMPT, "max_tokens": -1},
    {"prompt": PROMPT, "temperature": PROMPT},
    {"prompt": PROMPT, PROMPT: PROMPT},
    {"prompt": PROMPT, "model": PROMPT},
    {"prompt": PROMPT * 50_000},
)


def test_no_prompt_and_no_key_is_in_anything_that_is_said(cluster: Talkative) -> None:
    ask_by_http(cluster)
    ask_by_grpc(cluster)
    knock_with_a_wrong_key(cluster)
    cluster.wait_until_quiet()
    said = everything_said(cluster)
    assert "outcome=ok" in said, "requests are logged"
    assert "DEBUG" in said, "and so is all else"
    for secret in (PROMPT, KEY, WRONG_KEY, PASSWORD):
        lines = [line[:300] for line in said.splitlines() if secret in line]
        assert not lines, lines


def ask_by_http(cluster: Talkative) -> None:
    (gateway,) = cluster.gateways
    headers = {"authorization": f"Bearer {KEY}", "x-api-key": KEY}
    with httpx.Client(base_url=gateway.address, timeout=TIMEOUT_S, headers=headers) as client:
        for body in BODIES:
            client.post("/v1/completions", json={"max_tokens": 8, **body})
            chat = {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
            del chat["prompt"]
            client.post("/v1/chat/completions", json={"max_tokens": 8, **chat})
        broken = json.dumps(BODIES[0])[:-1].encode()
        client.post("/v1/completions", content=broken, headers={"content-type": "application/json"})
        client.get(f"/v1/models/{PROMPT}")


def ask_by_grpc(cluster: Talkative) -> None:
    with grpc.insecure_channel(grpc_address(cluster)) as channel:
        stub: Any = InferenceStub(channel)  # type: ignore[no-untyped-call]
        for sampling in (
            pb.SamplingOptions(max_tokens=8, stop=[PROMPT]),
            pb.SamplingOptions(temperature=9),
            pb.SamplingOptions(structure=pb.Structure(json_schema=f'{{"{PROMPT}": ')),
        ):
            request = pb.GenerateRequest(text=PROMPT, sampling=sampling)
            with suppress(grpc.RpcError):
                list(stub.Generate(request, metadata=bearing(KEY)))


def knock_with_a_wrong_key(cluster: Talkative) -> None:
    (gateway,) = cluster.gateways
    for headers in ({"authorization": f"Bearer {WRONG_KEY}"}, {"x-api-key": WRONG_KEY}):
        url = f"{gateway.address}/v1/completions"
        answer = httpx.post(url, json=BODIES[0], headers=headers, timeout=TIMEOUT_S)
        assert answer.status_code == 401, "keys are in force"
    with grpc.insecure_channel(grpc_address(cluster)) as channel:
        stub: Any = InferenceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.Generate(pb.GenerateRequest(text=PROMPT), metadata=bearing(WRONG_KEY)))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def bearing(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def grpc_address(cluster: Talkative) -> str:
    (gateway,) = cluster.gateways
    (port,) = [word.split("=")[1] for word in gateway.words if word.startswith("--grpc-port")]
    return f"127.0.0.1:{port}"
