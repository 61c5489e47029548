"""`blockyard decisions`: why things are where they are, as control plane and gateway remember."""

from __future__ import annotations

from typing import Any

import click
import httpx

from orchestrator.live import operator_client
from orchestrator.live.commands.move import figures_text
from orchestrator.live.commands.options import control_address, gateway_door
from orchestrator.live.commands.terminal import refusals_shown, show_json, show_table, table
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.gateway_door import GatewayDoor, in_path
from protos import control_pb2

TIMEOUT_S = 5.0
ID_PREFIXES = ("chatcmpl-", "cmpl-")  # of an answer; its request's id comes after


@click.command()
@click.argument("request", required=False)
@click.option("--replica", help="Only what is about this replica.")
@click.option("--last", type=click.IntRange(1), default=50, show_default=True)
@gateway_door
@control_address
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def decisions(
    request: str | None,
    replica: str | None,
    last: int,
    gateway: GatewayDoor,
    control: ControlDoor,
    as_json: bool,
) -> None:
    """Show what was decided lately: of all, or of REQUEST.

    By its own id, its answer's, or the x-request-id that its client sent.
    """
    plain = request_id_of(request or "")
    with refusals_shown():
        placed = gateway_record(gateway, plain) if plain else None
        found = operator_client.decisions(
            control,
            request_id=plain if placed is None else placed["request_id"],
            replica_id=replica or "",
            count=last,
        )
    if request and not found and placed is None:
        raise click.ClickException(f"nothing is remembered of a request {request!r}")
    if as_json:
        show_json({"control": [as_record(d) for d in found], "gateway": placed})
        return
    if placed is not None:
        show_gateway(placed)
    show_control(found)


def request_id_of(name: str) -> str:
    for prefix in ID_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def gateway_record(gateway: GatewayDoor, request_id: str) -> dict[str, Any] | None:
    """The gateway's record of a request; None, with a note, where it has none."""
    try:
        with gateway.client(httpx.Timeout(TIMEOUT_S)) as client:
            response = client.get(f"/v1/decisions/{in_path(request_id)}")
    except httpx.TransportError as error:
        click.echo(f"no gateway answers at {gateway.url} ({gateway.said_of(error)})", err=True)
        return None
    if response.status_code != httpx.codes.OK:
        click.echo(f"the gateway at {gateway.url} knows no request {request_id!r}", err=True)
        return None
    record: dict[str, Any] = response.json()
    return record


def show_gateway(record: dict[str, Any]) -> None:
    made = table(
        f"gateway: request {record['request_id']}", ("event", "replica", "why"), ("ms", "choice")
    )
    for event in record["events"]:
        why = event.get("reason") or event.get("detail") or ""
        made.add_row(
            event["event"],
            event["replica"] or "",
            why,
            f"{event['at_ms']:.1f}",
            str(event["choice"]),
        )
    show_table(made)


def show_control(found: tuple[control_pb2.Decision, ...]) -> None:
    made = table(
        f"control plane: {len(found)} decisions",
        ("what", "reason", "replica", "to", "sequence", "figures"),
        ("s ago",),
    )
    for one in found:
        about = " ".join(part for part in (one.detail, figures_text(one.figures)) if part)
        made.add_row(
            one.kind,
            one.reason,
            one.replica_id,
            one.target,
            one.sequence_id,
            about,
            f"{one.age_ms / 1000:.1f}",
        )
    show_table(made)


def as_record(one: control_pb2.Decision) -> dict[str, object]:
    return {
        "number": one.number,
        "age_ms": one.age_ms,
        "kind": one.kind,
        "reason": one.reason,
        "replica": one.replica_id or None,
        "target": one.target or None,
        "request": one.request_id or None,
        "sequence": one.sequence_id or None,
        "move": one.move_id or None,
        "detail": one.detail,
        "figures": {figure.name: figure.value for figure in one.figures},
    }
