"""`blockyard incident`: the founding incident, replayed through four memory models.

The same requests at the same times, one replica. Two models keep KV in
contiguous runs, as the incident's stack did; two are the production engine.
In virtual time it needs neither a GPU nor Ray, Redis or torch; `--live` lets a
real model compute the same in small, and counts the time that it computes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from orchestrator.crew import cores, in_order
from orchestrator.out_file import TO_FILE, drawable, placed, write_json, writing
from orchestrator.sim.incident.incident import Case, Incident, simulated_incident
from orchestrator.sim.incident.models import MODELS
from orchestrator.sim.incident.picture import draw_incident
from orchestrator.sim.incident.record import record
from orchestrator.sim.incident.replay import Replay
from orchestrator.sim.incident.story import story
from orchestrator.workload.drawing import CannotPlot, require_matplotlib

LIVE = "orchestrator.live.incident.play"  # loaded by name: it needs torch, the simulator does not


@click.command(name="incident")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--live", is_flag=True, help="A real model on this CPU, in small.")
@click.option("--model", metavar="PATH|smollm2|tiny", help="--live: what computes; default: tiny.")
@click.option("--json", "json_path", type=TO_FILE, callback=placed, help="Write all figures.")
@click.option("--plot", "plot_path", type=TO_FILE, callback=drawable, help="Draw a picture here.")
def command(
    *, seed: int, live: bool, model: str | None, json_path: Path | None, plot_path: Path | None
) -> None:
    """Replay the founding incident through four memory models.

    In virtual time, unless --live: then --model computes it, slower models on more time.
    """
    if model is not None and not live:
        raise click.UsageError("--model is for --live: in virtual time nothing is computed")
    if plot_path is not None:
        try:
            require_matplotlib()
        except CannotPlot as error:
            raise click.ClickException(str(error)) from error
    if live:
        result: Incident = import_module(LIVE).play(seed, model or "tiny")
    else:
        result = simulated_incident(seed, Case(), each=in_processes)
    click.echo(story(result))
    write_json(json_path, record(result))
    if plot_path is not None:
        with writing(plot_path):
            draw_incident(result, plot_path)


def in_processes(work: Callable[[str], Replay], models: Iterable[str]) -> Iterator[Replay]:
    """A `map` over this machine's cores, whose results are the same as without it."""
    workers = min(len(MODELS), cores())
    click.echo(f"replaying through {len(MODELS)} memory models on {workers} cores", err=True)
    return in_order(partial(uncollected, work), models, workers=workers)


def uncollected(work: Callable[[str], Replay], model: str) -> Replay:
    """Without the cycle collector: a run makes hardly any cycles, and walking prompts is slow."""
    gc.disable()
    return work(model)
