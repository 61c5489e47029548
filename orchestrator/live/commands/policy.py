"""`blockyard policy show` and `policy set`: the knobs of rebalancing, while the cluster runs."""

from __future__ import annotations

import click

from orchestrator.live import operator_client
from orchestrator.live.commands.options import control_address
from orchestrator.live.commands.terminal import refusals_shown, show_json, show_table, table
from orchestrator.live.control_door import ControlDoor


@click.group()
def policy() -> None:
    """Show or turn the knobs of rebalancing."""


@policy.command()
@control_address
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def show(control: ControlDoor, as_json: bool) -> None:
    """Show every knob, its value and what it does."""
    with refusals_shown():
        knobs = operator_client.policy(control)
    if as_json:
        show_json({knob.name: knob.value for knob in knobs})
        return
    made = table("the leader's policy", ("knob", "value", "meaning"))
    for knob in knobs:
        made.add_row(knob.name, knob.value, knob.meaning)
    show_table(made)


@policy.command("set")
@click.argument("knob")
@click.argument("value")
@control_address
def set_(knob: str, value: str, control: ControlDoor) -> None:
    """Turn KNOB to VALUE, for this leader and those that follow it."""
    with refusals_shown():
        knobs = operator_client.set_policy(control, knob, value)
    click.echo("\n".join(f"{k.name} = {k.value}" for k in knobs if k.name == knob))
