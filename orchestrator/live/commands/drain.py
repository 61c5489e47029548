"""`blockyard drain REPLICA`: take no new work there, and say when it is empty."""

from __future__ import annotations

import click

from orchestrator.live import operator_client
from orchestrator.live.commands.options import PORT
from orchestrator.live.commands.terminal import progress
from protos.messages import ReplicaId


@click.command()
@click.argument("replica")
@click.option("--control-port", type=PORT, default=8002, show_default=True)
def drain(replica: str, control_port: int) -> None:
    """Stop admission at REPLICA and wait until its running requests are done."""
    shown = None
    try:
        for state in operator_client.drain(f"127.0.0.1:{control_port}", ReplicaId(replica)):
            if state != shown:
                progress(f"{replica}: {state[0]}, {state[1]} sequences left")
            shown = state
    except (LookupError, ConnectionError) as error:
        raise click.ClickException(str(error)) from error
