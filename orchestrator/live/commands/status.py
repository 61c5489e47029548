"""`blockyard status`: every replica's blocks and sequences, as a table or as JSON."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from orchestrator.live.commands.options import PORT
from orchestrator.live.operator_client import ReplicaState, replica_states

TIMEOUT_S = 5.0
WIDTH = 100  # a table that is piped somewhere keeps its columns


@click.command()
@click.option("--control-port", type=PORT, default=8002, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def status(control_port: int, as_json: bool) -> None:
    """Show replicas, their blocks and what runs on them."""
    try:
        states = replica_states(f"127.0.0.1:{control_port}", timeout_s=TIMEOUT_S)
    except ConnectionError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"replicas": [as_record(state) for state in states]}, indent=2))
    else:
        Console(width=WIDTH).print(status_table(states))


def as_record(state: ReplicaState) -> dict[str, object]:
    """A replica's state with the names that metrics and tables use."""
    snapshot, counters = state.snapshot, state.snapshot.counters
    return {
        "replica": snapshot.replica_id,
        "state": state.state,
        "epoch": snapshot.epoch,
        "address": state.record.address,
        "model": state.record.card.name,
        "blocks_total": snapshot.blocks_total,
        "blocks_free": snapshot.blocks_free,
        "blocks_cached": snapshot.blocks_cached,
        "blocks_used": snapshot.blocks_used,
        "sequences_running": snapshot.sequences_running,
        "sequences_waiting": snapshot.sequences_waiting,
        "hit_ratio": round(hit_ratio(state), 4),
        "prompt_tokens": counters.prompt_tokens,
        "hit_tokens": counters.hit_tokens,
        "decode_tokens": counters.decode_tokens,
        "preemptions": counters.preemptions,
    }


def hit_ratio(state: ReplicaState) -> float:
    """Share of the admitted prompts' tokens that were found in the prefix cache."""
    counters = state.snapshot.counters
    return counters.hit_tokens / counters.prompt_tokens if counters.prompt_tokens else 0.0


def status_table(states: tuple[ReplicaState, ...]) -> Table:
    table = Table(title=f"{len(states)} replicas: blocks, sequences, hit ratio")
    for name in ("replica", "state", "epoch"):
        table.add_column(name, no_wrap=True)
    for name in ("free", "cached", "used", "running", "waiting", "hits"):
        table.add_column(name, justify="right", no_wrap=True)
    for state in states:
        snapshot = state.snapshot
        table.add_row(
            snapshot.replica_id,
            state.state,
            str(snapshot.epoch),
            str(snapshot.blocks_free),
            str(snapshot.blocks_cached),
            str(snapshot.blocks_used),
            str(snapshot.sequences_running),
            str(snapshot.sequences_waiting),
            f"{hit_ratio(state):.1%}",
        )
    return table
