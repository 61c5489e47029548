"""`blockyard swarm`: small worlds in which everything goes wrong, one for each seed.

It needs neither a GPU nor Ray, Redis or torch. A seed that fails prints what
broke and the line that shows it again, and belongs into tests/simulation/seeds.py.
"""

from __future__ import annotations

import time
from collections import Counter

import click

from orchestrator.sim.causes import told
from orchestrator.sim.client import Answered, Outcome
from orchestrator.sim.silence import silence
from orchestrator.sim.swarm.scenario import Scenario, scenario


@click.command(name="swarm")
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True)
@click.option("--calm", is_flag=True, help="Without any fault.")
def command(*, seeds: int, first: int, calm: bool) -> None:
    """Run many small simulated clusters in which everything goes wrong that can."""
    began = time.perf_counter()
    ends: Counter[str] = Counter()
    moves = failed = 0
    for seed in range(first, first + seeds):
        world = scenario(seed, is_calm=calm)
        try:
            with silence():
                history = world.run()
        except Exception as error:
            failed += 1
            click.echo(failure_text(seed, world, error, is_calm=calm))
        else:
            moves += history.moves
            ends.update(map(end_of, history.outcomes))
    took_s = time.perf_counter() - began
    click.echo(
        f"{seeds - failed} of {seeds} worlds kept every rule in {took_s:.0f} s:"
        f" {ends.total()} requests {dict(sorted(ends.items()))}, {moves} sequences moved"
    )
    if failed:
        raise SystemExit(1)


def end_of(outcome: Outcome) -> str:
    return "answered" if isinstance(outcome, Answered) else outcome.code


def failure_text(seed: int, world: Scenario, error: BaseException, *, is_calm: bool) -> str:
    """What broke, what had gone wrong before, and how to see it again."""
    again = f"blockyard swarm --seeds 1 --first {seed}{' --calm' if is_calm else ''}"
    faults = ", ".join(f"{fault} at {at_ns / 1e9:.3f} s" for at_ns, fault in world.faults)
    broken = "\n".join(f"  {cause}" for cause in told(error))
    return f"{again}\n{broken}\n  after {faults or 'nothing'}"
