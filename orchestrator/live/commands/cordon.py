"""`blockyard cordon REPLICA` and `uncordon REPLICA`: whether a replica takes new work."""

from __future__ import annotations

import click

from orchestrator.live import operator_client
from orchestrator.live.commands.options import control_address
from orchestrator.live.commands.terminal import refusals_shown
from orchestrator.live.control_door import ControlDoor
from protos.messages import ReplicaId


@click.command()
@click.argument("replica")
@control_address
def cordon(replica: str, control: ControlDoor) -> None:
    """Send no new work to REPLICA. What it has stays there."""
    with refusals_shown():
        click.echo(f"{replica}: {operator_client.cordon(control, ReplicaId(replica))}")


@click.command()
@click.argument("replica")
@control_address
def uncordon(replica: str, control: ControlDoor) -> None:
    """Let REPLICA take work again, also if it is draining or drained."""
    with refusals_shown():
        click.echo(f"{replica}: {operator_client.uncordon(control, ReplicaId(replica))}")
