"""One replica without Ray, registry or control plane: `python -m replicas --model tiny`.

Prints the address of its data service on standard output, serves until SIGINT
or SIGTERM, then finishes what runs. Exit codes: 0 stopped, 1 the replica
failed, 2 it could not start.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

from protos.address import CannotListen
from protos.certificates import BadCertificates
from protos.logs import LogFormat, log_to_stderr
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig
from replicas.model.errors import ModelError
from replicas.serving.build import DoesNotFit, build_replica
from replicas.serving.replica import Replica, ReplicaUnhealthy
from replicas.shell.waiting import set_within

HEALTH_PERIOD_S = 1.0
FAILED = 1
NOT_STARTED = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--model", required=True, help="A folder or .gguf file, or its URL, 'smollm2' or 'tiny'."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: any free one.")
@click.option("--blocks", type=click.IntRange(min=1), help="KV blocks; by default what suits.")
@click.option("--block-size", type=click.IntRange(1, 1024), default=16, show_default=True)
@click.option(
    "--host-gib",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Of host memory, to pause sequences in.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--dtype", default="auto", show_default=True, help="float32, bfloat16 or float16.")
@click.option(
    "--guesses-max",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Tokens that a sequence guesses at most in a step.",
)
@click.option("--deterministic", is_flag=True, help="The same bits for a request in any company.")
@click.option("--replica-id", default="replica-0", show_default=True)
@click.option(
    "--internal-tls",
    type=click.Path(path_type=Path, file_okay=False),
    help="Mutual TLS: a folder with ca.crt, tls.crt and tls.key.",
)
@click.option("--grace-s", type=click.FloatRange(min=0), default=20.0, show_default=True)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def main(
    model: str,
    host: str,
    port: int,
    blocks: int | None,
    block_size: int,
    host_gib: float,
    device: str,
    dtype: str,
    guesses_max: int,
    deterministic: bool,
    replica_id: str,
    internal_tls: Path | None,
    grace_s: float,
    log_format: LogFormat,
) -> None:
    """Serve one model on one device over gRPC (blockyard.control.v1.ReplicaData)."""
    log_to_stderr("warning", log_format)
    config = ReplicaConfig(
        replica_id=ReplicaId(replica_id), host=host, port=port, internal_tls=internal_tls
    )
    try:
        replica = build_replica(
            config,
            model=model,
            device=device,
            dtype=dtype,
            deterministic=deterministic,
            block_size=block_size,
            blocks_total=blocks,
            guesses_max=guesses_max,
            host_gib=host_gib,
        )
        asyncio.run(serve(replica, grace_s))
    except (ModelError, DoesNotFit, CannotListen, BadCertificates) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(NOT_STARTED)
    except ReplicaUnhealthy as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)


async def serve(replica: Replica, grace_s: float) -> None:
    """Until a signal; a second one does not wait. Raises ReplicaUnhealthy when it fails."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    click.echo(await replica.start())
    try:
        while not await set_within(stopped, HEALTH_PERIOD_S):
            replica.check_health()
    finally:
        await replica.stop(grace_s)


if __name__ == "__main__":
    main()
