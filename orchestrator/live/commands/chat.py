"""`blockyard chat "text"`: one question to the running cluster, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import httpx

from orchestrator.live.commands.options import gateway_door
from orchestrator.live.gateway_door import GatewayDoor

CONNECT_TIMEOUT_S = 5.0


@click.command()
@click.argument("text")
@gateway_door
@click.option("--system", help="A system prompt.")
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
def chat(text: str, gateway: GatewayDoor, system: str | None, max_tokens: int) -> None:
    """Ask TEXT and print the answer as it is made."""
    for words in (text, system or ""):
        try:
            words.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError("the text is not valid UTF-8") from error
    messages = [{"role": "system", "content": system}] if system else []
    body = {
        "messages": [*messages, {"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "temperature": 0,
    }
    try:
        for piece in stream_chat(gateway, body):
            click.echo(piece, nl=False)
    except httpx.ConnectError as error:
        raise click.ClickException(
            f"nobody answers at {gateway.url} ({gateway.said_of(error)}); "
            "start one with: blockyard up"
        ) from error
    except httpx.TransportError as error:
        raise click.ClickException(f"the connection was lost ({gateway.said_of(error)})") from error
    click.echo()


def stream_chat(gateway: GatewayDoor, body: dict[str, Any]) -> Iterator[str]:
    """Pieces of the answer's text. ClickException with the server's words when it refuses."""
    timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
    with (
        gateway.client(timeout) as client,
        client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise click.ClickException(error_message(response.read()))
        for line in response.iter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise click.ClickException(event["error"]["message"])
            for choice in event["choices"]:
                yield choice["delta"].get("content") or ""


def error_message(body: bytes) -> str:
    """The message of an OpenAI error body, or the body itself."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500]
