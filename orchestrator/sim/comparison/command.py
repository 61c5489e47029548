"""`blockyard compare`: every routing policy on the same traffic, as a table.

Each row is a simulation of the whole system under another policy, which is all
that differs. Simulations run on all cores; Ctrl-C ends them. It needs neither a
GPU nor Ray, Redis or torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from orchestrator.crew import answers, cores
from orchestrator.out_file import TO_FILE, drawable, placed, write_json, writing
from orchestrator.sim.comparison.cases import CONTENDERS, ON_TRACES, Case, cases_in
from orchestrator.sim.comparison.runs import Run, measure, rows
from orchestrator.sim.comparison.table import draw, markdown
from orchestrator.sim.progress import Progress
from orchestrator.sim.report import Report
from orchestrator.workload.drawing import CannotPlot, require_matplotlib
from orchestrator.workload.trace_file import BadTrace

POSITIVE = click.IntRange(1)
NAMES = tuple(contender.name for contender in CONTENDERS)
LOOKED_FOR = tuple(dict.fromkeys(f"{case.workload}.jsonl.xz" for case in ON_TRACES))
MEASURED = ("wall_s", "events_per_s")  # by nobody here: many share the cores


@click.command(name="compare")
@click.option(
    "--traces",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"A folder with any of {', '.join(LOOKED_FOR)}."
    " Without one: workloads made from the seed.",
)
@click.option("--requests", type=POSITIVE, help="Only the first so many of each workload.")
@click.option("--policy", "names", multiple=True, type=click.Choice(NAMES), help="Default: all.")
@click.option("--only", help="Only cases whose title begins so.")
@click.option("--seeds", type=POSITIVE, default=1, show_default=True, help="Means over 0, 1, ...")
@click.option("--workers", type=POSITIVE, help="Processes. Default: one for each core there is.")
@click.option("--json", "json_path", type=TO_FILE, callback=placed, help="Write all runs here.")
@click.option("--plot", "plot_path", type=TO_FILE, callback=drawable, help="Draw a picture here.")
def command(
    *,
    traces: Path | None,
    requests: int | None,
    names: tuple[str, ...],
    only: str | None,
    seeds: int,
    workers: int | None,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Compare routing policies on the same traffic, in virtual time."""
    cases = chosen_cases(traces, only)
    contenders = [each for each in CONTENDERS if not names or each.name in names]
    runs = [
        Run(case, contender, seed, traces, requests)
        for case in cases
        for contender in contenders
        for seed in range(seeds)
    ]
    try:
        if plot_path is not None:
            require_matplotlib()
        reports = measured(runs, workers or cores())
    except (BadTrace, CannotPlot) as error:
        raise click.ClickException(str(error)) from error
    tables = {case: rows(reports, case) for case in cases}
    click.echo("\n\n".join(markdown(case, table) for case, table in tables.items()))
    write_json(json_path, [entry(*each) for each in reports])
    if plot_path is not None:
        with writing(plot_path):
            draw(tables, plot_path)


def chosen_cases(traces: Path | None, only: str | None) -> Sequence[Case]:
    """The ones at hand that were asked for; a sentence for each that is not there."""
    cases, missing = cases_in(traces)
    for name in missing:
        click.echo(f"{traces} has no {name}.jsonl.xz: left out", err=True)
    chosen = [case for case in cases if only is None or case.title.startswith(only)]
    if not chosen:
        titles = "".join(f"\n  {case.title}" for case in cases)
        there = f"; the titles there are:{titles}" if cases else ""
        raise click.ClickException(f"nothing is left to compare{there}")
    return chosen


def measured(runs: Sequence[Run], workers: int) -> list[tuple[Run, Report]]:
    """All of them, in the order in which they were asked for."""
    reports: dict[Run, Report] = {}
    with (
        Progress("simulations", len(runs)) as progress,
        closing(answers(measure, runs, workers=workers)) as ready,
    ):
        for run, report in ready:
            reports[run] = report
            progress.step()
    return [(run, reports[run]) for run in runs]


def entry(run: Run, report: Report) -> dict[str, object]:
    """One run as JSON."""
    figures = {key: value for key, value in asdict(report).items() if key not in MEASURED}
    return {"case": asdict(run.case), "contender": run.contender.name} | figures
