"""What it costs a gateway to be seen: CPU per request and per token, with and without.

    python -m tests.benchmarks.gateway_overhead [--rounds 12]

Four gateways, each a process: one that counts nothing and traces nothing, one
with its metrics, two with metrics and the spans of one request in ten or of
each, sent to a real collector. All serve the same streams over HTTP, in turns,
from a replica on paper that says a token every five milliseconds. What is
compared is the CPU time of the whole process, the exporter's threads included.
There is no engine in it and no gRPC to one: of a real gateway's work the shares
are smaller. A request's cost is that of a stream of one token; a token's is the
rest of a long one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.class_metrics import ClassMetrics
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.server import GatewayServer
from orchestrator.gateway.service import Gateway
from orchestrator.gateway.stream import Timing
from orchestrator.live.clock import OsClock
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import RequestClass, Snapshot
from protos.otlp import Telemetry
from protos.registry import ReplicaRecord
from tests.integration.gateway.scripted import CARD, REPLICA, ScriptedReplica
from tests.integration.tracing.collector import collecting
from tests.unit.gateway.byte_model import byte_tokenizer

NEITHER, METRICS, TENTH, ALL = VARIANTS = (
    "neither",
    "metrics",
    "metrics, a trace of one in ten",
    "metrics, a trace of each",
)
STREAMS = 32  # at once
SHORT_REPEATS = 8  # of as many streams of one token, which are over too soon to be measured
EXPORT_S = 0.3  # after which the spans of a turn are away
TOKENS = 129
STEP_S = 0.005
BLOCKS = 100_000
HOUR_MS = 3_600_000
PROMPT = "x" * 512


class Silent(ClassMetrics):
    """Counts nothing."""

    def started(self, timing: Timing, *, ttft_ns: int, prompt_tokens: int) -> None: ...

    def tokens_came(self, count: int, *, since_ns: int | None, now_ns: int) -> None: ...

    def choice_ended(self, *, tokens: int, duration_ns: int) -> None: ...


class SilentMetrics(GatewayMetrics):
    """Nothing is counted, of no class."""

    _silent = Silent()

    def of(self, request_class: RequestClass) -> ClassMetrics:
        return self._silent

    def started(
        self,
        timing: Timing,
        request_class: RequestClass,
        *,
        prepare_ns: int,
        ttft_ns: int,
        prompt_tokens: int,
        hit_tokens: int,
        attempts: int,
    ) -> None: ...

    def ended(self, outcome: str, request_class: RequestClass, *, e2e_ns: int) -> None: ...


class PacedReplica(ScriptedReplica):
    """Has room for everybody, and takes its time."""

    def snapshot(self) -> Snapshot | None:
        shown = super().snapshot()
        return shown and replace(shown, blocks_total=BLOCKS, blocks_free=BLOCKS)

    async def _follow_script(self, index: int) -> None:
        await asyncio.sleep(STEP_S)


# ---- the gateway's process


def serve(variant: str, collector: str, door: Connection) -> None:
    """Tell the port, then the CPU time so far whenever asked, until told to stop."""
    if variant in (TENTH, ALL):
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector
        os.environ["OTEL_EXPORTER_OTLP_INSECURE"] = "true"
        os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    if variant == TENTH:
        os.environ["OTEL_TRACES_SAMPLER"] = "parentbased_traceidratio"
        os.environ["OTEL_TRACES_SAMPLER_ARG"] = "0.1"
    asyncio.run(_serve(variant, door))


async def _serve(variant: str, door: Connection) -> None:
    async with _gateway(variant) as port:
        door.send(port)
        while await asyncio.to_thread(door.recv):
            door.send(time.process_time_ns())


@asynccontextmanager
async def _gateway(variant: str) -> AsyncIterator[int]:
    # However late this machine lets it report.
    clock, cluster = OsClock(), Cluster(ClusterConfig(report_age_ns_max=HOUR_MS * 1_000_000))
    registry = MemoryRegistry(clock.now_ns, RegistryConfig(lease_ms=HOUR_MS))
    await registry.join(ReplicaRecord(REPLICA, "nowhere:1", CARD, BLOCKS))
    replica = PacedReplica(answer=b"x" * TOKENS)
    fleet = Fleet(registry, lambda _, __: replica, cluster, clock, FleetConfig())
    metrics = SilentMetrics() if variant == NEITHER else GatewayMetrics()
    telemetry = Telemetry("gateway", variant)
    with TemporaryDirectory() as folder:
        gateway = Gateway(
            Dispatch(fleet, cluster, registry, clock, DispatchConfig()),
            byte_tokenizer(Path(folder)),
            clock=clock,
            metrics=metrics,
            tracing=telemetry.tracing,
        )
        server = GatewayServer(gateway, http_port=0, grpc_port=0)
        await fleet.start()
        yield (await server.start()).http
        await server.stop(1.0)
        await fleet.stop()
        await telemetry.close()


# ---- turns


class Subject:
    """One gateway, from outside."""

    def __init__(self, variant: str, collector: str) -> None:
        spawn = get_context("spawn")
        self._door, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(variant, collector, theirs), daemon=True)
        self._process.start()
        self._url = ""

    async def ready(self) -> None:
        self._url = f"http://127.0.0.1:{await asyncio.to_thread(self._door.recv)}/v1/completions"

    async def turn(self, client: aiohttp.ClientSession, tokens: int, repeats: int) -> float:
        """CPU time of one stream of so many tokens, in microseconds."""
        began = await self._cpu_ns()
        for _ in range(repeats):
            await asyncio.gather(*(self._stream(client, tokens) for _ in range(STREAMS)))
        await asyncio.sleep(EXPORT_S)
        return (await self._cpu_ns() - began) / STREAMS / repeats / 1_000

    async def stop(self) -> None:
        self._door.send(False)
        await asyncio.to_thread(self._process.join)

    async def _cpu_ns(self) -> int:
        self._door.send(True)
        spent: int = await asyncio.to_thread(self._door.recv)
        return spent

    async def _stream(self, client: aiohttp.ClientSession, tokens: int) -> None:
        ask = {"prompt": PROMPT, "stream": True, "max_tokens": tokens}
        async with client.post(self._url, json=ask) as answer:
            said = await answer.read()
        assert said.count(b'"text":"x"') == tokens, said[-500:]


async def measure(rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """By variant: microseconds for each request, and for each token, of every round."""
    found: dict[str, tuple[list[float], list[float]]] = {each: ([], []) for each in VARIANTS}
    async with collecting() as collector, aiohttp.ClientSession() as client:
        subjects = {each: Subject(each, f"http://{collector.address}") for each in VARIANTS}
        for subject in subjects.values():
            await subject.ready()
            await subject.turn(client, TOKENS, 1)  # warm
        for number in range(rounds):
            for place in range(len(VARIANTS)):
                variant = VARIANTS[(number + place) % len(VARIANTS)]
                short = await subjects[variant].turn(client, 1, SHORT_REPEATS)
                long = await subjects[variant].turn(client, TOKENS, 1)
                found[variant][0].append(short)
                found[variant][1].append((long - short) / (TOKENS - 1))
        for subject in subjects.values():
            await subject.stop()
        assert collector.spans, "nothing was traced"
    return found


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=12, show_default=True)
def main(rounds: int) -> None:
    """Print a table: medians, and medians of the rounds' differences."""
    found = asyncio.run(measure(rounds))
    table = Table("gateway", "us per request", "more", "us per token", "more")
    for variant in VARIANTS:
        cells = []
        for kind in (0, 1):
            own, base = found[variant][kind], found[NEITHER][kind]
            shares = [mine / others - 1 for mine, others in zip(own, base, strict=True)]
            cells += [f"{median(own):.1f}", f"{median(shares):+.1%}"]
        table.add_row(variant, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
