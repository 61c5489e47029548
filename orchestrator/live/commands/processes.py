"""`blockyard gateway`, `control-plane`, and (replica.py) `replica`: one process, without Ray.

The same parts that Ray Serve places, each by itself in the foreground: for a
second gateway beside a running cluster, for other ways of deployment, and for
whoever wants to kill one by hand. They find each other through the registry.
A first SIGINT or SIGTERM stops in order, a second one does not wait. A replica
alone needs torch, which takes seconds to load, so its command is elsewhere.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import click
import uvloop
from pydantic import ValidationError

from orchestrator.config import Deployment
from orchestrator.gateway.token_bytes import UnsupportedTokenizer
from orchestrator.live.commands.options import (
    HEALTH_PORT,
    KEYS_FILE,
    METRICS_PORT,
    PORT,
    RECORD,
    TLS,
    process_options,
    ui_option,
)
from orchestrator.live.control_plane import ControlPlaneServer
from orchestrator.live.gateway import build_gateway
from orchestrator.live.registry_url import connect_registry
from orchestrator.replay.recording import RecordingRefused
from protos.address import CannotListen
from protos.logs import log_to_stderr
from protos.registry import RegistryUnavailable
from protos.transport import Transport
from replicas.model.errors import ModelError

HEALTH_PERIOD_S = 1.0
# What keeps any process from starting, each with a sentence for its user.
FAILURES: tuple[type[Exception], ...] = (
    CannotListen,
    ModelError,
    RecordingRefused,
    UnsupportedTokenizer,
    ValueError,
)
# One process behind a mapped port: of a container, of a tunnel, of a proxy.
ADVERTISE_PORT = click.option(
    "--advertise-port", type=PORT, help="Where others reach its port; default: as it is."
)

# Yields where it listens, and how to ask whether it is well.
Process = AbstractAsyncContextManager[tuple[str, Callable[[], None]]]


@click.command()
@process_options("drain_s", "model", "model_cache", "model_checksums")
@KEYS_FILE
@TLS
@click.option("--http-port", type=PORT, default=8000, show_default=True)
@click.option("--grpc-port", type=PORT, default=8001, show_default=True)
@ui_option(default=False)
@RECORD
def gateway(**values: Any) -> None:
    """Answer HTTP and gRPC for the replicas of a cluster."""
    run(gateway_process, values)


@click.command("control-plane")
@process_options("advertise_host")
@click.option("--control-port", type=PORT, default=8002, show_default=True)
@HEALTH_PORT
@METRICS_PORT
@ADVERTISE_PORT
def control_plane(advertise_port: int | None, **values: Any) -> None:
    """Lead a cluster, or stand by while another control plane does."""
    run(lambda deployment: control_plane_process(deployment, advertise_port), values)


@asynccontextmanager
async def gateway_process(deployment: Deployment) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    built = await build_gateway(deployment)
    try:
        await built.start()
        scheme = "http" if deployment.tls is None else "https"
        address = f"{scheme}://{deployment.host}:{deployment.http_port}"
        yield address, built.server.check_health
    finally:
        await built.stop(deployment.drain_s)


@asynccontextmanager
async def control_plane_process(
    deployment: Deployment, advertise_port: int | None
) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    registry = connect_registry(deployment)
    server = ControlPlaneServer(
        registry,
        host=deployment.host,
        port=deployment.control_port,
        advertise_host=deployment.advertise_host or deployment.host,
        advertise_port=advertise_port,
        health_port=deployment.health_port,
        metrics_port=deployment.metrics_port,
        transport=Transport(deployment.internal_tls),
    )
    try:
        yield await server.start(), server.check_health
    finally:
        await server.stop()
        await registry.close()


def run(
    process: Callable[[Deployment], Process],
    values: dict[str, Any],
    *failures: type[Exception],
) -> None:
    """Until a signal. What cannot start, or fails in one of these ways, is said in one sentence."""
    given = {name: value for name, value in values.items() if value is not None}
    try:
        deployment = Deployment.model_validate(given)
    except ValidationError as error:
        raise click.UsageError(str(error)) from error
    log_to_stderr(deployment.log_level, deployment.log_format)
    try:
        uvloop.run(serve(deployment, process(deployment)))  # the loop that Ray's actors have
    except FAILURES + failures as error:
        raise click.ClickException(str(error)) from error


async def look_for_registry(deployment: Deployment) -> None:
    """Say so when it does not answer: the process waits for it, however long."""
    registry = connect_registry(deployment)
    try:
        await registry.members()
    except RegistryUnavailable as error:
        click.echo(f"waiting for the registry: {error}", err=True)
    finally:
        await registry.close()


async def serve(deployment: Deployment, process: Process) -> None:
    """Print where it listens, and watch over it. Raises what its health check does."""
    await look_for_registry(deployment)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    async with process as (address, check_health):
        click.echo(address)
        while not stopped.is_set():
            check_health()
            try:
                async with asyncio.timeout(HEALTH_PERIOD_S):
                    await stopped.wait()
            except TimeoutError:
                continue
