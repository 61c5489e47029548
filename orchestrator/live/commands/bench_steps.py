"""`blockyard bench engine --shape`: steps of a model that is known by its shape alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import torch
from rich.table import Table

from orchestrator.live.commands.terminal import progress, show_table, table
from orchestrator.out_file import write_json
from replicas.bench.shapes import random_model
from replicas.bench.step_bench import QUICK_STEPS, STEPS, StepReport, measure_steps
from replicas.model.errors import ModelError
from replicas.model.loading import device_of, dtype_of


def show_steps(
    out: Path | None, shape: str, device: str, dtype: str, *, quick: bool, deterministic: bool
) -> None:
    """Measure the steps, write them, print them."""
    try:
        on = device_of(device)
        if on.type == "cpu":
            torch.set_num_threads(1)
        progress(f"making {shape} with random weights on {on}")
        model = random_model(
            shape, device=on, dtype=dtype_of(dtype, on), deterministic=deterministic
        )
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    report = measure_steps(model, QUICK_STEPS if quick else STEPS)
    write_json(out, asdict(report))
    show_table(step_table(report))
    click.echo(
        f"on {report.device}, torch {report.torch}; measured here: "
        f"{report.rates.read_bytes_per_s / 1e9:.0f} GB/s, {report.rates.flop_per_s / 1e12:.2f} "
        "TFLOP/s"
    )


def step_table(report: StepReport) -> Table:
    """One row per kind of step; x is the ratio to the floor."""
    made = table(
        f"{report.model}, {report.dtype}, {report.kernels} kernels",
        ("step",),
        ("rows", "step ms", "floor ms", "x floor"),
    )
    for step in report.steps:
        made.add_row(
            step.name,
            str(step.rows),
            f"{step.step_ms:.2f}",
            f"{step.floor_ms:.2f}",
            f"{step.ratio:.2f}",
        )
    return made
