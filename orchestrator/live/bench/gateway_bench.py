"""What a gateway costs: CPU for each request and each streamed token, and the time it adds.

The gateway is the real command in a process of its own, with the model's own
tokenizer and template, over a real registry and replicas on paper
(paper_replicas.py) that it reaches by gRPC. HTTP clients are in this process.
A request's cost is that of a stream of one token; a token's is what is left of
a long stream. CPU time is that of the whole gateway process.

Beside it, in turns and in the same run, stands the floor: uvicorn with nothing
in it (bare_server.py) that gets the same requests and streams as many bytes.
Time that is added is the time to the first event of a request that comes
alone, next to that of the same gRPC link used directly, and of the floor.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from statistics import median
from typing import Any

import aiohttp

from orchestrator.gateway.link_config import LinkConfig
from orchestrator.gateway.token_bytes import UnsupportedTokenizer
from orchestrator.gateway.tokenizer import load_tokenizer
from orchestrator.live.bench.chats import Chats
from orchestrator.live.bench.child import Child
from orchestrator.live.bench.conditions import Conditions, load_average
from orchestrator.live.bench.paper_replicas import FIRST_WORD, WORDS, card_in_words
from orchestrator.live.free_ports import free_ports
from orchestrator.live.replica_client import GrpcReplicaClient
from protos.messages import ModelCard, ReplicaId, Request, RequestId, SamplingParams
from protos.registry import ReplicaRecord
from protos.transport import Transport
from replicas.model.source import resolve_model

PACKAGES = ("fastapi", "uvicorn", "uvloop", "grpcio", "redis", "tokenizers")
BENCH = "orchestrator.live.bench"
STEP_MS = 20
EVENT_BYTES = 400  # about what an event of ours has
READY_S_MAX = 60.0
ALONE_PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class GatewayCases:
    """What is measured."""

    prompt_tokens: int = 640
    replicas: int = 2
    streams: int = 32  # at once
    short_repeats: int = 10  # of as many streams of one token
    tokens: int = 129  # of a long stream
    rounds: int = 5
    alone: int = 200  # requests that come one after the other


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """Medians over the rounds. `cpu` is of the gateway's process, or of the bare one."""

    conditions: Conditions
    cases: GatewayCases
    prompt_tokens: float
    new_cpu_us: float
    known_cpu_us: float
    token_cpu_us: float
    bare_request_cpu_us: float
    bare_token_cpu_us: float
    requests_per_s: float  # of the one process, with its clients on the same machine
    requests_per_cpu_s: float
    alone_ms: float
    alone_link_ms: float
    alone_bare_ms: float


@dataclass(slots=True)
class Found:
    """What each round gave, in microseconds of CPU."""

    new: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    token: list[float] = field(default_factory=list)
    bare_request: list[float] = field(default_factory=list)
    bare_token: list[float] = field(default_factory=list)
    requests_per_s: list[float] = field(default_factory=list)


def measure_gateway(
    cases: GatewayCases, model: str, redis_url: str, server: str, progress: Callable[[str], None]
) -> GatewayReport:
    """Raises ModelError, UnsupportedTokenizer or ChildFailed."""
    source = resolve_model(model)
    tokenizer = load_tokenizer(source.path)
    if tokenizer.vocab_size < FIRST_WORD + WORDS:
        raise UnsupportedTokenizer(f"{source.name} has no words in its vocabulary, only letters")
    chats = Chats(tokenizer, prompt_tokens=cases.prompt_tokens, seed=0)
    card = ModelCard(source.name, "paper", "none", 16, 8_192, tokenizer.vocab_size)
    conditions = Conditions.here(PACKAGES, server=server)
    with ExitStack() as stack:
        paper = stack.enter_context(
            Child(
                f"{BENCH}.paper_replicas",
                redis_url,
                str(cases.replicas),
                str(STEP_MS),
                card_in_words(card),
            )
        )
        addresses = json.loads(paper.first_line())
        bare = stack.enter_context(Child(f"{BENCH}.bare_server", str(STEP_MS), str(EVENT_BYTES)))
        bare_url = f"http://127.0.0.1:{bare.first_line()}/"
        gateway = stack.enter_context(Child("orchestrator", *gateway_words(model, redis_url)))
        gateway_url = gateway.first_line()
        progress(f"gateway at {gateway_url}, replicas at {', '.join(addresses)}")
        bench = Bench(cases, chats, gateway, gateway_url, bare, bare_url)
        return asyncio.run(
            bench.run(
                conditions, ReplicaRecord(ReplicaId("paper-0"), addresses[0], card, 1), progress
            )
        )


def gateway_words(model: str, redis_url: str) -> list[str]:
    """The command line of the gateway."""
    http_port, grpc_port = islice(free_ports(), 2)
    ports = ("--http-port", str(http_port), "--grpc-port", str(grpc_port))
    return ["gateway", "--redis", redis_url, "--model", model, "--drain-s", "0", *ports]


class Bench:
    """Clients of one gateway and one bare server."""

    def __init__(
        self,
        cases: GatewayCases,
        chats: Chats,
        gateway: Child,
        gateway_url: str,
        bare: Child,
        bare_url: str,
    ) -> None:
        self._cases = cases
        self._chats = chats
        self._gateway = gateway
        self._gateway_url = gateway_url
        self._chat_url = f"{gateway_url}/v1/chat/completions"
        self._bare = bare
        self._bare_url = bare_url

    async def run(
        self, conditions: Conditions, replica: ReplicaRecord, progress: Callable[[str], None]
    ) -> GatewayReport:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._client:
            await self._until_ready()
            await self._round(Found())  # warm
            found = Found()
            for number in range(self._cases.rounds):
                await self._round(found)
                progress(
                    f"round {number + 1} of {self._cases.rounds}: new {found.new[-1]:.0f} us, "
                    f"known {found.known[-1]:.0f} us, token {found.token[-1]:.1f} us"
                )
            alone_ms, alone_bare_ms = await self._alone(self._chat_url, self._bare_url)
            alone_link_ms = await self._alone_link(replica)
        some = [self._chats.known() for _ in range(20)]
        known = median(found.known)
        return GatewayReport(
            conditions=replace(conditions, load_after=load_average()),
            cases=self._cases,
            prompt_tokens=sum(map(self._chats.tokens, some)) / len(some),
            new_cpu_us=median(found.new),
            known_cpu_us=known,
            token_cpu_us=median(found.token),
            bare_request_cpu_us=median(found.bare_request),
            bare_token_cpu_us=median(found.bare_token),
            requests_per_s=median(found.requests_per_s),
            requests_per_cpu_s=1e6 / known,
            alone_ms=alone_ms,
            alone_link_ms=alone_link_ms,
            alone_bare_ms=alone_bare_ms,
        )

    async def _until_ready(self) -> None:
        async with asyncio.timeout(READY_S_MAX):
            while True:
                async with self._client.get(f"{self._gateway_url}/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.1)

    async def _round(self, found: Found) -> None:
        cases = self._cases
        short = cases.short_repeats
        new, _ = await self._turn(self._gateway, self._chat_url, self._chats.new, 1, short)
        known, per_s = await self._turn(self._gateway, self._chat_url, self._chats.known, 1, short)
        long, _ = await self._turn(
            self._gateway, self._chat_url, self._chats.known, cases.tokens, 1
        )
        bare, _ = await self._turn(self._bare, self._bare_url, self._chats.known, 1, short)
        bare_long, _ = await self._turn(
            self._bare, self._bare_url, self._chats.known, cases.tokens, 1
        )
        found.new.append(new)
        found.known.append(known)
        found.token.append((long - known) / (cases.tokens - 1))
        found.bare_request.append(bare)
        found.bare_token.append((bare_long - bare) / (cases.tokens - 1))
        found.requests_per_s.append(per_s)

    async def _turn(
        self,
        child: Child,
        url: str,
        make: Callable[[], list[dict[str, Any]]],
        tokens: int,
        repeats: int,
    ) -> tuple[float, float]:
        """CPU time of each stream of so many tokens, in microseconds, and streams a second."""
        streams = self._cases.streams
        asks = [[ask(make(), tokens) for _ in range(repeats)] for _ in range(streams)]
        began_cpu_s, began_s = child.cpu_s(), time.perf_counter()
        await asyncio.gather(*(self._streams(url, own, tokens) for own in asks))
        ended_s = time.perf_counter()
        cpu_s = child.cpu_s() - began_cpu_s
        return cpu_s * 1e6 / streams / repeats, streams * repeats / (ended_s - began_s)

    async def _streams(self, url: str, asks: list[bytes], tokens: int) -> None:
        for body in asks:
            async with self._client.post(url, data=body, headers=JSON) as answer:
                said = await answer.read()
            assert answer.status == 200, said[:500]
            if url == self._chat_url:
                assert said.endswith(b"data: [DONE]\n\n"), said[-500:]
                assert said.count(b'"delta":{"content":') == tokens, said[-500:]

    async def _alone(self, *urls: str) -> list[float]:
        """Median time to the first event at each, in milliseconds.

        They take turns, so that what else the machine does meanwhile is in all of them.
        """
        waits: dict[str, list[float]] = {url: [] for url in urls}
        for url in urls * self._cases.alone:
            body = ask(self._chats.known(), 1)
            began_s = time.perf_counter()
            async with self._client.post(url, data=body, headers=JSON) as answer:
                await answer.content.readany()
                waits[url].append(time.perf_counter() - began_s)
                await answer.read()
            await asyncio.sleep(ALONE_PAUSE_S)
        return [median(of_one) * 1e3 for of_one in waits.values()]

    async def _alone_link(self, replica: ReplicaRecord) -> float:
        """The same of a replica that is asked directly, on a link as gateways have it."""
        reported = asyncio.Event()
        link = GrpcReplicaClient(replica, reported.set, LinkConfig(), Transport())
        await reported.wait()
        prompt = tuple(range(self._cases.prompt_tokens))
        waits = []
        for number in range(self._cases.alone):
            name = RequestId(f"alone-{number}")
            began_s = time.perf_counter()
            async for _ in link.submit(Request(name, prompt, SamplingParams(tokens_max=1))):
                waits.append(time.perf_counter() - began_s)
            await asyncio.sleep(ALONE_PAUSE_S)
        await link.close()
        return median(waits) * 1e3


JSON = {"content-type": "application/json"}


def ask(messages: list[dict[str, Any]], tokens: int) -> bytes:
    """A request's body."""
    fields = {"messages": messages, "stream": True, "max_tokens": tokens, "temperature": 0}
    return json.dumps(fields).encode()
