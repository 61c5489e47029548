"""`blockyard drain REPLICA`: move what runs there to others, and say when it is empty."""

from __future__ import annotations

import click

from orchestrator.exit_status import INTERRUPTED
from orchestrator.live import operator_client
from orchestrator.live.commands.options import control_address
from orchestrator.live.commands.terminal import progress, refusals_shown
from orchestrator.live.control_door import ControlDoor
from protos import control_pb2
from protos.messages import ReplicaId


@click.command()
@click.argument("replica")
@control_address
def drain(replica: str, control: ControlDoor) -> None:
    """Stop admission at REPLICA, move its sequences to others and wait until it is empty."""
    shown = None
    try:
        with refusals_shown():
            for step in operator_client.drain(control, ReplicaId(replica)):
                if (line := described(step)) != shown:
                    progress(f"{replica}: {line}")
                shown = line
    except KeyboardInterrupt:
        progress(f"the drain goes on; `blockyard uncordon {replica}` would end it")
        raise SystemExit(INTERRUPTED) from None


def described(step: control_pb2.DrainProgress) -> str:
    moved = f"{step.sequences_moved} moved, {step.sequences_handed_back} handed back"
    return f"{step.state}, {step.sequences_left} sequences left ({moved})"
