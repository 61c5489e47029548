"""What it costs to place a request: name its blocks, ask the registry, decide.

The three parts are the gateway's own code, one request after the other: the
prompt's prefix hashes, `RedisRegistry.locate` on a real server, and admission
with the routing policy over the view of a `Cluster`.

Floors are measured in turns with it: a PING and an MGET of all of the prompt's
keys by the same client, and a PING on a bare socket, below which no client can
be. The server's CPU time is what it says itself; nobody else may be on it.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from orchestrator.gateway.journey import prefix_hashes
from orchestrator.live.bench.conditions import Conditions, load_average
from orchestrator.live.bench.crowd import CARD, Crowd
from orchestrator.live.bench.samples import NS_PER_US, Samples, percentile
from orchestrator.policy.admit import Admit, AdmitConfig, QueueState, admit
from orchestrator.policy.view import Subject
from protos.messages import Request

PACKAGES = ("redis", "hiredis")
TURN_REQUESTS = 60
PATIENCE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class RouteCases:
    """What is measured."""

    prompt_tokens: tuple[int, ...] = (640, 4_000)
    replicas: tuple[int, ...] = (8, 64)
    blocks: int = 1_000_000  # in the registry, over all replicas
    turns: int = 20  # of TURN_REQUESTS each


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One case. Microseconds; `cpu` is of this process, for one request."""

    prompt_tokens: int
    replicas: int
    blocks: int
    requests: int
    p50_us: float
    p99_us: float
    cpu_us: float
    hash_cpu_us: float
    lookup_cpu_us: float
    decide_cpu_us: float
    server_cpu_us: float
    hit_share: float  # of all blocks asked for, those that some replica was found to have
    ping_p50_us: float
    ping_cpu_us: float
    mget_p50_us: float
    mget_cpu_us: float
    socket_p50_us: float
    socket_cpu_us: float


@dataclass(frozen=True, slots=True)
class RouteReport:
    conditions: Conditions
    rows: tuple[RouteRow, ...]


async def measure_routing(
    cases: RouteCases,
    lend_server: Callable[[], AbstractContextManager[str]],
    progress: Callable[[str], None],
    *,
    is_lasting: bool,
) -> RouteReport:
    """All cases; each number of replicas has a server, by its URL, for itself.

    A lasting one is left as it was found.
    """
    rows: list[RouteRow] = []
    conditions: Conditions | None = None
    for replicas in cases.replicas:
        with lend_server() as url:
            crowd = Crowd(url, replicas)
            try:
                conditions = conditions or Conditions.here(PACKAGES, server=await version(crowd))
                await crowd.gather(
                    blocks=cases.blocks, prompt_tokens=cases.prompt_tokens, progress=progress
                )
                for prompt_tokens in cases.prompt_tokens:
                    progress(f"prompts of {prompt_tokens} tokens, {replicas} replicas")
                    rows.append(await measure(crowd, url, prompt_tokens, cases.turns))
                if is_lasting:
                    progress("sweeping")
                    await crowd.scatter()
            finally:
                await crowd.close()
    assert conditions is not None, "there is a case"
    return RouteReport(replace(conditions, load_after=load_average()), tuple(rows))


@dataclass(slots=True)
class Parts:
    """What was measured of one case."""

    hashing: Samples = field(default_factory=Samples)
    lookup: Samples = field(default_factory=Samples)
    deciding: Samples = field(default_factory=Samples)
    ping: Samples = field(default_factory=Samples)
    mget: Samples = field(default_factory=Samples)
    socket: Samples = field(default_factory=Samples)
    asked: int = 0
    found: int = 0
    server_s: float = 0.0

    def whole_us(self) -> list[float]:
        """Each request's time on the wall."""
        parts = (self.hashing.wall_ns, self.lookup.wall_ns, self.deciding.wall_ns)
        return [sum(each) / NS_PER_US for each in zip(*parts, strict=True)]


async def measure(crowd: Crowd, url: str, prompt_tokens: int, turns: int) -> RouteRow:
    await place_some(crowd, prompt_tokens, Parts())  # warm
    gc.collect()
    parts = Parts()
    with bare_socket(url) as connection:
        for _ in range(turns):
            requests = await place_some(crowd, prompt_tokens, parts)
            await ask_floors(crowd, connection, requests, parts)
    whole_us, requests_done = parts.whole_us(), turns * TURN_REQUESTS
    return RouteRow(
        prompt_tokens=prompt_tokens,
        replicas=crowd.replicas,
        blocks=crowd.blocks,
        requests=requests_done,
        p50_us=percentile(whole_us, 0.5),
        p99_us=percentile(whole_us, 0.99),
        cpu_us=parts.hashing.cpu_us + parts.lookup.cpu_us + parts.deciding.cpu_us,
        hash_cpu_us=parts.hashing.cpu_us,
        lookup_cpu_us=parts.lookup.cpu_us,
        decide_cpu_us=parts.deciding.cpu_us,
        server_cpu_us=parts.server_s / requests_done * 1e6,
        hit_share=parts.found / parts.asked,
        ping_p50_us=parts.ping.wall_us(0.5),
        ping_cpu_us=parts.ping.cpu_us,
        mget_p50_us=parts.mget.wall_us(0.5),
        mget_cpu_us=parts.mget.cpu_us,
        socket_p50_us=parts.socket.wall_us(0.5),
        socket_cpu_us=parts.socket.cpu_us,
    )


async def place_some(crowd: Crowd, prompt_tokens: int, parts: Parts) -> list[Request]:
    """A turn of requests, each told where it goes."""
    requests = [crowd.request(prompt_tokens, number) for number in range(TURN_REQUESTS)]
    server_began_s = await server_cpu_s(crowd)
    for request in requests:
        crowd.report()
        with parts.hashing.one():
            hashes = prefix_hashes(request, CARD)
        with parts.lookup.one():
            hits = await crowd.registry.locate(hashes)
        with parts.deciding.one():
            decision = admit(
                crowd.cluster.view(crowd.clock.now_ns()),
                subject_of(request),
                hits,
                QueueState(ahead=0, patience_ns=PATIENCE_NS),
                AdmitConfig(),
            )
        assert isinstance(decision, Admit), "everybody has room"
        parts.asked += len(hashes)
        parts.found += max(hits.values(), default=0)
    parts.server_s += await server_cpu_s(crowd) - server_began_s
    return requests


async def ask_floors(
    crowd: Crowd, connection: socket.socket, requests: list[Request], parts: Parts
) -> None:
    """The least that asking a server can cost, as often."""
    for request in requests:
        keys = crowd.keys(prefix_hashes(request, CARD))
        with parts.ping.one():
            await crowd.server.ask("PING")
        with parts.mget.one():
            await crowd.server.ask("MGET", *keys)
        with parts.socket.one():
            connection.sendall(b"PING\r\n")
            connection.recv(64)


def subject_of(request: Request) -> Subject:
    return Subject(
        request_id=request.request_id,
        prompt_tokens=request.given_tokens,
        tokens_max=request.sampling.tokens_max,
        choices=request.choices,
        block_size=CARD.block_size,
    )


async def version(crowd: Crowd) -> str:
    info = await crowd.server.ask("INFO", "server")
    valkey = info.get("valkey_version")
    return f"Redis {info['redis_version']}" if valkey is None else f"Valkey {valkey}"


async def server_cpu_s(crowd: Crowd) -> float:
    """CPU time of the server's main thread so far; commands run on no other."""
    info = await crowd.server.ask("INFO", "cpu")
    return float(info["used_cpu_sys_main_thread"]) + float(info["used_cpu_user_main_thread"])


@contextmanager
def bare_socket(url: str) -> Iterator[socket.socket]:
    """A connection with no client on it. Only to servers that ask for neither key nor TLS."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 6379)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection
