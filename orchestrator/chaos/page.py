"""Runs as one HTML page that needs nothing else: for whoever writes the post-mortem.

It says nothing of the day or the machine, so the same runs give the same page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from orchestrator.chaos import table
from orchestrator.chaos.record import Json
from orchestrator.chaos.run import Run
from orchestrator.chaos.timeline import HEIGHT, WIDTH, timeline

FOLDER = Path(__file__).parent


def page(results: Sequence[Json], shown: Sequence[Run], command: str) -> str:
    """Summaries of all runs, and the ones to be shown whole. `command` plays them again."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    played = [result for result in results if "skipped" not in result]
    summaries = {(result["scenario"], result["seed"]): result for result in played}
    return environment.get_template("page.html").render(
        command=command,
        columns=table.COLUMNS,
        rows=[(name, table.cells(runs)) for name, runs in table.by_scenario(results).items()],
        runs=len(played),
        failed=sum(not result["passed"] for result in played),
        requests=sum(result["requests"] for result in played),
        shown=[(run, summaries[run.scenario.name, run.seed], timeline(run)) for run in shown],
        width=WIDTH,
        height=HEIGHT,
    )
