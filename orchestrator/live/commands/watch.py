"""`blockyard watch`: the fleet as it lives: replicas, blocks, sequences and moves."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from orchestrator.live import operator_client
from orchestrator.live.commands.options import control_address
from orchestrator.live.commands.status import as_record, hit_ratio, move_record, sequences_table
from orchestrator.live.commands.terminal import PIPED_WIDTH, progress, refusals_shown, table
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.operator_client import FleetState, ReplicaState

BAR_CELLS = 24
TAKEOVER_S_MAX = 15.0  # a lease, and some slack; then there is nobody to take over
RETRY_S = 0.5


@click.command()
@click.option("--interval-ms", type=click.IntRange(100), default=500, show_default=True)
@click.option("--sequences", is_flag=True, help="Show the largest sequences, too.")
@control_address
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def watch(interval_ms: int, sequences: bool, control: ControlDoor, as_json: bool) -> None:
    """Follow the fleet until Ctrl-C."""
    states = patiently(
        lambda: operator_client.watch(control, interval_ms=interval_ms, sequences=sequences)
    )
    try:
        with refusals_shown():
            if as_json:
                for fleet in states:
                    click.echo(json.dumps(fleet_record(fleet, sequences=sequences)))
                return
            console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
            with Live(console=console, auto_refresh=False) as live:
                for fleet in states:
                    live.update(picture(fleet), refresh=True)
    except KeyboardInterrupt:
        return


def patiently(watch: Callable[[], Iterator[FleetState]]) -> Iterator[FleetState]:
    """What it shows, beyond the end of a leader: another one is asked, for a while."""
    seen_s: float | None = None
    while True:
        try:
            for fleet in watch():
                seen_s = time.monotonic()
                yield fleet
        except ConnectionError as error:
            if seen_s is None or time.monotonic() - seen_s > TAKEOVER_S_MAX:
                raise
            progress(f"{error}; looking for another one")
        time.sleep(RETRY_S)


def fleet_record(fleet: FleetState, *, sequences: bool) -> dict[str, object]:
    return {
        "replicas": [as_record(state, sequences=sequences) for state in fleet.replicas],
        "moves": [move_record(move) for move in fleet.moves],
    }


def picture(fleet: FleetState) -> RenderableType:
    """Everything that fits: replicas always, sequences and moves where there are any."""
    parts: list[RenderableType] = [replicas_table(fleet.replicas)]
    if any(state.sequences for state in fleet.replicas):
        parts.append(sequences_table(fleet.replicas))
    if fleet.moves:
        parts.append(moves_table(fleet))
    return Group(*parts)


def replicas_table(states: tuple[ReplicaState, ...]) -> Table:
    made = table(
        f"{len(states)} replicas",
        ("replica", "state", "blocks: used # cached + free ."),
        ("free", "running", "waiting", "hits", "step ms"),
    )
    for state in states:
        snapshot = state.snapshot
        made.add_row(
            snapshot.replica_id,
            state.state if state.is_fresh else f"{state.state}, silent",
            bar(state),
            str(snapshot.blocks_free),
            str(snapshot.sequences_running),
            str(snapshot.sequences_waiting),
            f"{hit_ratio(state):.1%}",
            f"{snapshot.step_ns / 1e6:.1f}",
        )
    return made


def bar(state: ReplicaState) -> str:
    """The pool in few cells; whatever is not empty has at least one."""
    snapshot = state.snapshot
    used = -(-snapshot.blocks_used * BAR_CELLS // snapshot.blocks_total)
    cached = min(BAR_CELLS - used, -(-snapshot.blocks_cached * BAR_CELLS // snapshot.blocks_total))
    return "#" * used + "+" * cached + "." * (BAR_CELLS - used - cached)


def moves_table(fleet: FleetState) -> Table:
    made = table(
        f"{len(fleet.moves)} moves under way",
        ("sequence", "from", "to", "reason"),
        ("blocks", "ms"),
    )
    for move in fleet.moves:
        to = move.target or "(handed back)"
        size = (str(move.blocks), str(move.age_ms))
        made.add_row(move.sequence_id, move.source, to, move.reason, *size)
    return made
