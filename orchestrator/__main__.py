"""The `blockyard` command: a table of verbs, each loaded when it is called.

Loading late keeps every verb as light as what it does: asking for status
needs neither Ray nor torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from orchestrator.exit_status import INTERRUPTED
from orchestrator.live.own_session import enter_own_session
from orchestrator.live.ray_token import protect_ray

COMMANDS = {
    "up": "orchestrator.live.commands.up:up",
    "doctor": "orchestrator.live.commands.doctor:doctor",
    "demo": "orchestrator.live.commands.demo:demo",
    "replica": "orchestrator.live.commands.replica:replica",
    "gateway": "orchestrator.live.commands.processes:gateway",
    "control-plane": "orchestrator.live.commands.processes:control_plane",
    "status": "orchestrator.live.commands.status:status",
    "watch": "orchestrator.live.commands.watch:watch",
    "top": "orchestrator.live.commands.top:top",
    "decisions": "orchestrator.live.commands.decisions:decisions",
    "explain": "orchestrator.live.commands.explain:explain",
    "cordon": "orchestrator.live.commands.cordon:cordon",
    "uncordon": "orchestrator.live.commands.cordon:uncordon",
    "drain": "orchestrator.live.commands.drain:drain",
    "move": "orchestrator.live.commands.move:move",
    "rebalance": "orchestrator.live.commands.move:rebalance",
    "policy": "orchestrator.live.commands.policy:policy",
    "keys": "orchestrator.live.commands.keys:keys",
    "certs": "orchestrator.live.commands.certs:certs",
    "model": "orchestrator.live.commands.model:model",
    "chat": "orchestrator.live.commands.chat:chat",
    "simulate": "orchestrator.sim.command:command",
    "replay": "orchestrator.replay.command:command",
    "compare": "orchestrator.sim.comparison.command:command",
    "swarm": "orchestrator.sim.swarm.command:command",
    "chaos": "orchestrator.chaos.command:command",
    "incident": "orchestrator.sim.incident.command:command",
    "load": "orchestrator.load.command:command",
    "bench": "orchestrator.live.commands.bench:bench",
}


class Verbs(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        protect_ray()  # before a verb's module imports it
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Ctrl-C is no failure of a verb that says nothing else of it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


# They start servers, and must be able to stop them in order.
STARTING = frozenset({"up", "demo"})


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="blockyard")
def blockyard() -> None:
    """Cluster-level LLM serving that knows where every KV block is."""


def main() -> None:
    """The console script."""
    if STARTING.intersection(sys.argv[1:2]) and not {"-h", "--help"}.intersection(sys.argv):
        enter_own_session()
    blockyard(prog_name="blockyard")


if __name__ == "__main__":
    main()
