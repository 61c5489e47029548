"""`blockyard incident`: the founding incident, replayed through four memory models.

The same requests at the same times, one replica, in virtual time. Two models
keep KV in contiguous runs, as the incident's stack did; two are the production
engine. It needs neither a GPU nor Ray, Redis or torch.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.sim.command import uncollected
from orchestrator.sim.incident.incident import incident, record
from orchestrator.sim.incident.models import PoolConfig
from orchestrator.sim.incident.picture import draw_incident
from orchestrator.sim.incident.story import story
from orchestrator.sim.incident.workload import Load
from orchestrator.sim.plot import CannotPlot, require_matplotlib


@click.command(name="incident")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Draw a picture here.")
def command(*, seed: int, json_path: Path | None, plot_path: Path | None) -> None:
    """Replay the founding incident through four memory models, in virtual time."""
    if plot_path is not None:
        try:
            require_matplotlib()
        except CannotPlot as error:
            raise click.ClickException(str(error)) from error
    with uncollected():
        result = incident(seed, Load(), PoolConfig())
    if json_path is not None:
        json_path.write_text(json.dumps(record(result), indent=1) + "\n")
    if plot_path is not None:
        draw_incident(result, plot_path)
    click.echo(story(result))
