"""`blockyard move` and `rebalance`: sequences to other replicas, by hand or by the policy."""

from __future__ import annotations

from collections.abc import Iterable

import click

from orchestrator.live import operator_client
from orchestrator.live.commands.options import control_address
from orchestrator.live.commands.terminal import (
    refusals_shown,
    show_json,
    show_table,
    table,
)
from orchestrator.live.control_door import ControlDoor
from protos import control_pb2
from protos.messages import ReplicaId
from protos.moves import MoveOutcome, MoveReport

NS_PER_MS = 1_000_000


@click.command()
@click.argument("sequence")
@click.option("--to", "target", required=True, metavar="REPLICA", help="Where it is to go on.")
@control_address
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def move(sequence: str, target: str, control: ControlDoor, as_json: bool) -> None:
    """Move one running SEQUENCE: a sequence id, REQUEST/CHOICE, or REQUEST if it has one choice.

    It goes on decoding meanwhile, and its client's stream goes on. Fails when
    the sequence is still where it was.
    """
    with refusals_shown():
        report, source = operator_client.move(control, sequence, ReplicaId(target))
    if as_json:
        show_json(report_record(report, source, target))
    else:
        click.echo(described(report, source, target))
    if report.outcome is not MoveOutcome.MOVED:
        raise SystemExit(1)


def report_record(report: MoveReport, source: str, target: str) -> dict[str, object]:
    return {
        "move": report.move_id,
        "sequence": report.sequence_id,
        "source": source,
        "target": target,
        "outcome": report.outcome.value,
        "detail": report.detail,
        "stages": report.stages,
        "blocks_sent": report.blocks_sent,
        "blocks_shared": report.blocks_shared,
        "bytes_sent": report.bytes_sent,
        "frozen_ms": report.frozen_ns / NS_PER_MS,
        "total_ms": report.total_ns / NS_PER_MS,
    }


def described(report: MoveReport, source: str, target: str) -> str:
    if report.outcome is not MoveOutcome.MOVED:
        why = f": {report.detail}" if report.detail else ""
        return f"{report.sequence_id} was not moved to {target} ({report.outcome.value}){why}"
    return (
        f"{report.sequence_id} moved from {source} to {target}: {report.blocks_sent} blocks sent, "
        f"{report.blocks_shared} were there, {report.total_ns / NS_PER_MS:.0f} ms, "
        f"of which it stood still for {report.frozen_ns / NS_PER_MS:.1f} ms"
    )


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would move.")
@control_address
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def rebalance(dry_run: bool, control: ControlDoor, as_json: bool) -> None:
    """Look at the fleet now and order the moves that help, even if balancing is off."""
    with refusals_shown():
        response = operator_client.rebalance(control, dry_run=dry_run)
    if as_json:
        show_json({"dry_run": dry_run, "moves": [planned_record(m) for m in response.moves]})
    elif response.moves:
        title = "moves that would be ordered" if dry_run else "moves ordered"
        made = table(title, ("sequence", "from", "to", "reason", "because"))
        for planned in response.moves:
            to = planned.target or "(handed back)"
            because = figures_text(planned.figures)
            made.add_row(planned.sequence_id, planned.source, to, planned.reason, because)
        show_table(made)
    else:
        click.echo("nothing to move")
    for stay in response.stays:
        click.echo(
            f"{stay.sequences} sequences cannot leave {stay.source}: {stay.reason}", err=True
        )


def planned_record(planned: control_pb2.PlannedMove) -> dict[str, object]:
    return {
        "reason": planned.reason,
        "source": planned.source,
        "target": planned.target or None,
        "sequence": planned.sequence_id,
        "request": planned.request_id,
        "figures": {figure.name: figure.value for figure in planned.figures},
    }


def figures_text(figures: Iterable[control_pb2.Figure]) -> str:
    return " ".join(f"{figure.name}={figure.value:g}" for figure in figures)
