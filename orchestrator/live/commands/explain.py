"""`blockyard explain`: the story of one request, in words and milliseconds."""

from __future__ import annotations

from typing import Any

import click
import httpx

from orchestrator.live.commands.options import gateway_door
from orchestrator.live.commands.terminal import show_json, show_table, table
from orchestrator.live.gateway_door import GatewayDoor, in_path

TIMEOUT_S = 5.0


@click.command()
@click.argument("request")
@gateway_door
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def explain(request: str, gateway: GatewayDoor, as_json: bool) -> None:
    """Say when REQUEST was where, what it waited for, and why it went where it went.

    By its own id, its answer's, or the x-request-id that its client sent; also
    while it waits or runs. The gateway that it came to remembers its last 4096
    requests. With keys, an operator's key shows every tenant's.
    """
    if not request:
        raise click.UsageError("REQUEST is empty")
    told = explanation(gateway, request)
    if as_json:
        show_json(told)
    else:
        show(told)


def explanation(gateway: GatewayDoor, request_id: str) -> dict[str, Any]:
    """What the gateway says. Ends the command with a sentence where it says nothing."""
    try:
        with gateway.client(httpx.Timeout(TIMEOUT_S)) as client:
            response = client.get(f"/v1/requests/{in_path(request_id)}/explain")
    except httpx.TransportError as error:
        raise click.ClickException(
            f"no gateway answers at {gateway.url} ({gateway.said_of(error)})"
        ) from error
    if response.status_code == httpx.codes.NOT_FOUND:
        raise click.ClickException(
            f"the gateway at {gateway.url} remembers no request {request_id!r}; "
            "another one may have had it"
        )
    if response.status_code != httpx.codes.OK:
        message = response.json()["error"]["message"]
        raise click.ClickException(f"the gateway at {gateway.url} refuses: {message}")
    told: dict[str, Any] = response.json()
    return told


def show(told: dict[str, Any]) -> None:
    """The story first; then the timeline that it is drawn from."""
    for sentence in told["words"]:
        click.echo(sentence)
    if told["trace_id"]:
        click.echo(f"Its trace is {told['trace_id']}.")
    made = table(f"request {told['request_id']}", ("what", "replica", "words"), ("at ms", "ms"))
    for entry in told["timeline"]:
        lasted = "" if entry["lasted_ms"] is None else f"{entry['lasted_ms']:.1f}"
        words = f"choice {entry['choice']}: {entry['words']}" if entry["choice"] else entry["words"]
        made.add_row(entry["what"], entry["replica"], words, f"{entry['at_ms']:.1f}", lasted)
    click.echo()
    show_table(made)
