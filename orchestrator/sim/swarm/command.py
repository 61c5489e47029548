"""`blockyard swarm`: small worlds in which everything goes wrong, one for each seed.

It needs neither a GPU nor Ray, Redis or torch. Worlds run on all cores. A seed
that fails prints what broke and the line that shows it again, and belongs into
tests/simulation/seeds.py, where it is run for ever.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import click

from orchestrator.crew import answers, cores
from orchestrator.sim.causes import told
from orchestrator.sim.client import Answered, Outcome
from orchestrator.sim.progress import Progress
from orchestrator.sim.silence import silence
from orchestrator.sim.swarm.scenario import Scenario, scenario


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one world."""

    ends: Counter[str]  # of its requests
    moves: int = 0
    copied_blocks: int = 0
    failure: str = ""  # empty: every rule was kept


@click.command(name="swarm")
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True)
@click.option("--calm", is_flag=True, help="Without any fault.")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes. Default: one for each core there is."
)
def command(*, seeds: int, first: int, calm: bool, workers: int | None) -> None:
    """Run many small simulated clusters in which everything goes wrong that can."""
    began = time.perf_counter()
    ends: Counter[str] = Counter()
    moves = copied_blocks = failed = 0
    run = partial(verdict, is_calm=calm)
    all_seeds = range(first, first + seeds)
    with (
        Progress("worlds", seeds) as progress,
        closing(answers(run, all_seeds, workers=workers or cores())) as verdicts,
    ):
        for _, world in verdicts:
            progress.step()
            if world.failure:
                failed += 1
                progress.clear()
                click.echo(world.failure)
            moves += world.moves
            copied_blocks += world.copied_blocks
            ends += world.ends
    took_s = time.perf_counter() - began
    click.echo(
        f"{seeds - failed} of {seeds} worlds kept every rule in {took_s:.0f} s:"
        f" {ends.total()} requests {dict(sorted(ends.items()))}, {moves} sequences moved,"
        f" {copied_blocks} blocks copied"
    )
    if failed:
        raise SystemExit(1)


def verdict(seed: int, *, is_calm: bool) -> Verdict:
    """Run the world of this seed."""
    world = scenario(seed, is_calm=is_calm)
    try:
        with silence():
            history = world.run()
    except Exception as error:
        return Verdict(Counter(), failure=failure_text(seed, world, error, is_calm=is_calm))
    ends = Counter(map(end_of, history.outcomes))
    return Verdict(ends, history.moves, history.copied_blocks)


def end_of(outcome: Outcome) -> str:
    return "answered" if isinstance(outcome, Answered) else outcome.code


def failure_text(seed: int, world: Scenario, error: BaseException, *, is_calm: bool) -> str:
    """What broke, what had gone wrong before, and how to see it again."""
    again = f"blockyard swarm --seeds 1 --first {seed}{' --calm' if is_calm else ''}"
    faults = ", ".join(f"{fault} at {at_ns / 1e9:.3f} s" for at_ns, fault in world.faults)
    broken = "\n".join(f"  {cause}" for cause in told(error))
    return f"{again}\n{broken}\n  after {faults or 'nothing'}"
