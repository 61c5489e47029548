"""`blockyard top`: what the live page shows, in a terminal.

It asks one gateway for its state once a second and draws it (top_picture.py).
A gateway that stops answering leaves the last picture there, with its age:
figures that are old must say so.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click
import httpx
from rich.console import Console
from rich.live import Live

from orchestrator.client_key import KEY_VARIABLE
from orchestrator.live.commands.options import gateway_door
from orchestrator.live.commands.terminal import PIPED_WIDTH
from orchestrator.live.commands.top_picture import Speed, picture
from orchestrator.live.gateway_door import GatewayDoor

PIPED_ROWS = 1000  # all that the gateway tells
PERIOD_S = 1.0
TIMEOUT = httpx.Timeout(5.0)


@click.command()
@gateway_door
@click.option("--once", is_flag=True, help="Print one picture and end, as when piped somewhere.")
def top(gateway: GatewayDoor, once: bool) -> None:
    """Watch replicas, their blocks, latencies, requests and moves until Ctrl-C.

    A gateway shows them where it has the live page (`--ui`), and to operators where it asks for
    keys: then the key is taken from the environment, BLOCKYARD_API_KEY.
    """
    is_terminal = sys.stdout.isatty()
    console = Console(width=None if is_terminal else PIPED_WIDTH)
    speed = Speed()
    with gateway.client(TIMEOUT) as client:
        state = first_state(client, gateway)
        if once or not is_terminal:
            rows = console.height if is_terminal else PIPED_ROWS
            console.print(picture(state, speed.after(state), rows=rows))
            return
        try:
            follow(client, console, state, speed)
        except KeyboardInterrupt:
            return


def first_state(client: httpx.Client, gateway: GatewayDoor) -> dict[str, Any]:
    """ClickException with what to do where there is none to be had."""
    try:
        return ask(client)
    except httpx.TransportError as error:
        raise click.ClickException(
            f"nobody answers at {gateway.url} ({gateway.said_of(error)})"
        ) from error
    except httpx.HTTPStatusError as error:
        raise click.ClickException(refusal(error.response, gateway.url)) from error


def follow(client: httpx.Client, console: Console, state: dict[str, Any], speed: Speed) -> None:
    """Draw it again every second."""
    heard_s = time.monotonic()
    per_s = speed.after(state)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            age_s = time.monotonic() - heard_s
            live.update(picture(state, per_s, rows=console.height, age_s=age_s), refresh=True)
            time.sleep(PERIOD_S)
            try:
                state = ask(client)
            except httpx.HTTPError:
                continue  # the picture's age tells
            heard_s = time.monotonic()
            per_s = speed.after(state)


def ask(client: httpx.Client) -> dict[str, Any]:
    """Raises httpx.HTTPError."""
    response = client.get("/ui/state").raise_for_status()
    state: dict[str, Any] = response.json()
    return state


def refusal(response: httpx.Response, url: str) -> str:
    """What to do about it, in a sentence."""
    match response.status_code:
        case httpx.codes.NOT_FOUND:
            return (
                f"the gateway at {url} has no live page; start it with --ui "
                "(`ui: true` in a Serve config)"
            )
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            return f"the gateway at {url} wants an operator's key: set {KEY_VARIABLE}"
        case status:
            return f"the gateway at {url} answered with status {status}"
