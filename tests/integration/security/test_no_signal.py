"""No tenant learns, by hits or by time, what another one has asked: a real engine, end to end.

One replica with the tiny model behind a gateway that asks for keys. In every
pair a second tenant sends two prompts, one that the first tenant has just
sent and one that nobody has; which of them comes first changes from pair to
pair. Were their blocks shared, the one would be faster nearly every time. The
test is of signs, not of sizes: it counts how often, so that a slow or busy
machine changes nothing about what is expected. The control is the first
tenant itself, who does find his blocks, and is faster.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import httpx
import pytest

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.keyring import Entry, Keyring, Keys, key_digest
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.gateway.server import GatewayServer
from orchestrator.gateway.service import Gateway
from orchestrator.gateway.tokenizer import load_tokenizer
from orchestrator.live.clock import OsClock
from orchestrator.live.replica_client import GrpcReplicaClient
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import ReplicaId
from protos.transport import Transport
from replicas.config import ReplicaConfig
from replicas.model.source import resolve_model
from replicas.serving.build import build_replica
from tests.integration.control.until import until

PAIRS = 100
CONTROLS = 40
PROMPT_TOKENS = 256  # a prefill that takes several times as long as the rest of a request
BLOCK_SIZE = 16
SIGMAS = 4.5  # one false alarm in some 150,000 runs
HOUR_MS = 3_600_000
PATIENT = LinkConfig(silence_s_max=600)  # of a machine that does much else


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client sees of an answer."""

    hit_tokens: int
    ns: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """A client with a key."""

    client: httpx.AsyncClient
    key: str

    async def ask(self, prompt: list[int], salt: str = "") -> Heard:
        body = {"prompt": prompt, "max_tokens": 1, "cache_salt": salt}
        began_ns = time.perf_counter_ns()
        answer = await self.client.post(
            "/v1/completions", json=body, headers={"x-api-key": self.key}
        )
        ns = time.perf_counter_ns() - began_ns
        assert answer.status_code == 200, answer.text
        return Heard(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"], ns)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    clock = OsClock()
    registry = MemoryRegistry(clock.now_ns, RegistryConfig(lease_ms=HOUR_MS))
    replica = build_replica(
        ReplicaConfig(ReplicaId("a")), model="tiny", device="cpu", registry=registry
    )
    await replica.start()
    cluster = Cluster(ClusterConfig())
    connect = partial(GrpcReplicaClient, config=PATIENT, transport=Transport())
    fleet = Fleet(registry, connect, cluster, clock, FleetConfig())
    dispatch = Dispatch(fleet, cluster, registry, clock, DispatchConfig())
    tokenizer = load_tokenizer(resolve_model("tiny").path)
    ring = Keyring(Entry(key_digest(name), Caller(name, name)) for name in ("first", "second"))
    gateway = Gateway(dispatch, tokenizer, clock=clock, metrics=GatewayMetrics())
    server = GatewayServer(
        gateway,
        keys=Keys(RateLimits(RateCounts(clock)), ring),
        http_port=0,
        grpc_port=0,
    )
    await fleet.start()
    ports = await server.start()
    await until(gateway.is_ready, "a replica")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", timeout=600) as client:
        yield client
    await server.stop(1.0)
    await fleet.stop()
    await replica.stop(0)


class Prompts:
    """Each of its own blocks from the first one on."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def __call__(self) -> list[int]:
        return [self._random.randrange(256) for _ in range(PROMPT_TOKENS)]


async def test_another_tenant_neither_hits_nor_waits_less(client: httpx.AsyncClient) -> None:
    first, second, prompt = Tenant(client, "first"), Tenant(client, "second"), Prompts()
    known_faster = 0
    for number in range(PAIRS):
        known, fresh = prompt(), prompt()
        await first.ask(known)
        order = (known, fresh) if number % 2 else (fresh, known)
        heard = {id(asked): await second.ask(asked) for asked in order}
        assert heard[id(known)].hit_tokens == heard[id(fresh)].hit_tokens == 0
        known_faster += heard[id(known)].ns < heard[id(fresh)].ns
    doubt = SIGMAS * math.sqrt(PAIRS) / 2
    assert abs(known_faster - PAIRS / 2) <= doubt, f"{known_faster} of {PAIRS} were faster"


async def test_a_tenant_does_find_his_own_blocks_and_is_faster(client: httpx.AsyncClient) -> None:
    """The control: the measure would have seen a hit. A salt keeps even its own apart."""
    first, prompt = Tenant(client, "first"), Prompts()
    known_faster = 0
    for number in range(CONTROLS):
        known, fresh = prompt(), prompt()
        await first.ask(known)
        assert (await first.ask(known, salt="another")).hit_tokens == 0
        order = (known, fresh) if number % 2 else (fresh, known)
        heard = {id(asked): await first.ask(asked) for asked in order}
        assert heard[id(fresh)].hit_tokens == 0
        assert heard[id(known)].hit_tokens == PROMPT_TOKENS - BLOCK_SIZE
        known_faster += heard[id(known)].ns < heard[id(fresh)].ns
    assert known_faster >= CONTROLS * 2 / 3, "a coin does that in one run of fifty"
