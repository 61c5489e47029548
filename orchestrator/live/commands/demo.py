"""`blockyard demo`: the incident's two workloads in small, through the whole real system.

Two chat requests go first, one after the other: the first computes the shared
system prompt, the second finds its blocks. Then the rest of the chat and the
agents arrive together. Every figure in the tables was measured by the client
or reported by a replica.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import click
import httpx
from rich.table import Table

from orchestrator.live.commands.measured_chat import Measured, Prompt, RequestFailed, ask
from orchestrator.live.commands.options import cluster_options
from orchestrator.live.commands.prompts import AGENT_PROMPTS, CHAT_QUESTIONS, SYSTEM_PROMPT
from orchestrator.live.commands.status import status_table
from orchestrator.live.commands.terminal import progress, show_table, stop_signals_raise
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.local import LocalCluster, LocalOptions, StartFailed
from orchestrator.live.operator_client import ReplicaState, replica_states

CHAT_TOKENS = 32
AGENT_TOKENS = 64
REPORT_TIMEOUT_S = 10.0


@click.command()
@cluster_options
def demo(**values: Any) -> None:
    """Start the system, send it two workloads, print what happened, stop it."""
    try:
        with (
            stop_signals_raise(),
            LocalCluster(LocalOptions(**values), progress) as cluster,
        ):
            measured = asyncio.run(run_workloads(cluster.url))
            states = asyncio.run(settled_states(cluster.leader()))
            show_table(request_table(measured))
            show_table(status_table(states))
            click.echo(verdict(measured[0], measured[1]))
    except KeyboardInterrupt as error:
        raise click.ClickException("interrupted; everything that was started is stopped") from error
    except StartFailed as error:
        raise click.ClickException(str(error)) from error
    except (RequestFailed, httpx.TransportError) as error:
        raise click.ClickException(f"a request failed: {error}") from error
    except (ConnectionError, TimeoutError) as error:
        raise click.ClickException(f"the control plane did not report: {error}") from error


def chat_prompts() -> list[Prompt]:
    system = {"role": "system", "content": SYSTEM_PROMPT}
    return [
        Prompt(f"chat-{number}", (system, {"role": "user", "content": question}), CHAT_TOKENS)
        for number, question in enumerate(CHAT_QUESTIONS, start=1)
    ]


def agent_prompts() -> list[Prompt]:
    return [
        Prompt(f"agent-{number}", ({"role": "user", "content": text},), AGENT_TOKENS)
        for number, text in enumerate(AGENT_PROMPTS, start=1)
    ]


async def run_workloads(url: str) -> list[Measured]:
    """Two chats in turn, then everything else at once."""
    first, second, *rest = chat_prompts()
    async with httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(None, connect=5.0)) as client:
        measured = [await ask(client, prompt, in_turn(prompt)) for prompt in (first, second)]
        click.echo(f"\n\nnow {len(rest)} more chats and {len(AGENT_PROMPTS)} agents at once:")
        tasks = [
            asyncio.create_task(ask_by_line(client, prompt)) for prompt in (*rest, *agent_prompts())
        ]
        try:
            measured += await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
    click.echo()
    return measured


async def ask_by_line(client: httpx.AsyncClient, prompt: Prompt) -> Measured:
    show = by_line(prompt)
    measured = await ask(client, prompt, show)
    show("\n")  # the line that its end left unfinished
    return measured


def in_turn(prompt: Prompt) -> Callable[[str], None]:
    """Print an answer as it comes: nobody else is talking."""
    click.echo(f"\n[{prompt.name}] {prompt.messages[-1]['content']}\n[{prompt.name}] ", nl=False)

    def show(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    return show


def by_line(prompt: Prompt) -> Callable[[str], None]:
    """Print whole lines with the speaker's name: many are talking."""
    pending = ""

    def show(text: str) -> None:
        nonlocal pending
        pending += text
        while len(pending) > 60 or "\n" in pending:
            line, _, pending = cut(pending)
            if line.strip():
                click.echo(f"[{prompt.name}] {line}")

    return show


def cut(text: str) -> tuple[str, str, str]:
    """The first line of `text`, at a line break or else at the last space within 60 characters."""
    if "\n" in text[:61]:
        return text.partition("\n")
    at = text.rfind(" ", 0, 60)
    return (text[:at], " ", text[at + 1 :]) if at > 0 else (text[:60], "", text[60:])


async def settled_states(control: ControlDoor) -> tuple[ReplicaState, ...]:
    """The replicas' states once their reports show that nothing runs any more."""
    async with asyncio.timeout(REPORT_TIMEOUT_S):
        while True:
            states = await asyncio.to_thread(replica_states, control, timeout_s=5.0)
            if not any(state.snapshot.sequences_running for state in states):
                return states
            await asyncio.sleep(0.1)


def request_table(measured: list[Measured]) -> Table:
    table = Table(title="requests, as the client measured them")
    table.add_column("request")
    table.add_column("replica")
    for name in ("prompt tokens", "hit tokens", "TTFT ms", "TPOT ms"):
        table.add_column(name, justify="right")
    for row in measured:
        tpot_ns = row.tpot_ns
        table.add_row(
            row.name,
            row.replica,
            str(row.prompt_tokens),
            str(row.hit_tokens),
            f"{row.ttft_ns / 1e6:.0f}",
            "-" if tpot_ns is None else f"{tpot_ns / 1e6:.0f}",
        )
    return table


def verdict(cold: Measured, warm: Measured) -> str:
    return (
        f"{warm.name} found {warm.hit_tokens} of its {warm.prompt_tokens} prompt tokens in the "
        f"cache: TTFT {cold.ttft_ns / 1e6:.0f} ms cold, {warm.ttft_ns / 1e6:.0f} ms with the hit "
        f"({cold.ttft_ns / warm.ttft_ns:.1f}x)"
    )
