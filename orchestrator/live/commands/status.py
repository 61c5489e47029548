"""`blockyard status`: every replica's blocks and sequences, as a table or as JSON."""

from __future__ import annotations

import click
from rich.table import Table

from orchestrator.live import operator_client
from orchestrator.live.commands.options import control_address
from orchestrator.live.commands.terminal import refusals_shown, show_json, show_table, table
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.operator_client import ReplicaState
from protos import control_pb2
from protos.messages import SequenceReport

# By then every replica that lives has found a new leader.
SETTLED_MS = 5_000
SEQUENCES_SHOWN = 12  # the largest of all replicas


@click.command()
@click.option("--sequences", is_flag=True, help="Show the largest sequences, too.")
@control_address
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def status(sequences: bool, control: ControlDoor, as_json: bool) -> None:
    """Show replicas, their blocks and what runs on them."""
    with refusals_shown():
        fleet = operator_client.fleet(control, sequences=sequences)
    if fleet.leading_ms < SETTLED_MS:
        click.echo(
            f"this leader began {fleet.leading_ms / 1000:.1f} s ago: replicas may still be missing",
            err=True,
        )
    if not as_json:
        show_table(status_table(fleet.replicas))
        if sequences:
            show_table(sequences_table(fleet.replicas))
        return
    show_json(
        {
            "replicas": [as_record(state, sequences=sequences) for state in fleet.replicas],
            "moves": [move_record(move) for move in fleet.moves],
            "term": fleet.term,
            "leading_ms": fleet.leading_ms,
        }
    )


def as_record(state: ReplicaState, *, sequences: bool) -> dict[str, object]:
    """A replica's state with the names that metrics and tables use."""
    snapshot, counters = state.snapshot, state.snapshot.counters
    listed = [sequence_record(sequence) for sequence in state.sequences]
    return {
        "replica": snapshot.replica_id,
        "state": state.state,
        "standing": state.standing,
        "is_fresh": state.is_fresh,
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
        **({"sequences": listed} if sequences else {}),
    }


def sequence_record(sequence: SequenceReport) -> dict[str, object]:
    return {
        "sequence": sequence.sequence_id,
        "request": sequence.request_id,
        "choice": sequence.choice,
        "class": sequence.request_class.value,
        "tenant": sequence.tenant,
        "tokens": sequence.tokens,
        "tokens_left_max": sequence.tokens_left_max,
        "blocks": sequence.blocks,
        "blocks_own": sequence.blocks_own,
        "is_waiting": sequence.is_waiting,
        "is_movable": sequence.is_movable,
    }


def move_record(move: control_pb2.MoveStatus) -> dict[str, object]:
    """A move that is under way."""
    return {
        "move": move.move_id,
        "sequence": move.sequence_id,
        "request": move.request_id,
        "source": move.source,
        "target": move.target or None,
        "reason": move.reason,
        "blocks": move.blocks,
        "age_ms": move.age_ms,
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


def sequences_table(states: tuple[ReplicaState, ...]) -> Table:
    made = table(
        "the largest sequences",
        ("sequence", "replica", "class", "is"),
        ("blocks", "own", "tokens", "left"),
    )
    located = [(state.snapshot.replica_id, s) for state in states for s in state.sequences]
    located.sort(key=lambda one: (-one[1].blocks, one[1].sequence_id))
    for replica_id, sequence in located[:SEQUENCES_SHOWN]:
        made.add_row(
            sequence.sequence_id,
            replica_id,
            sequence.request_class.value,
            "waiting" if sequence.is_waiting else "running",
            str(sequence.blocks),
            str(sequence.blocks_own),
            str(sequence.tokens),
            str(sequence.tokens_left_max),
        )
    return made
