"""`blockyard bench`: what parts of the system do here next to what this machine could do.

No cluster is started. Engines and the model run in this process, each on one
thread, as in a replica on a CPU. Figures go to a table, and to a JSON file
with the conditions under which they were measured. What routing and the
gateway cost is measured by commands of their own (bench_route.py, bench_gateway.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from orchestrator.live.bench.detokenizing import detokenize_ns
from orchestrator.live.commands.bench_gateway import gateway
from orchestrator.live.commands.bench_route import route
from orchestrator.live.commands.bench_steps import show_steps
from orchestrator.live.commands.terminal import progress, show_table, table
from orchestrator.out_file import TO_FILE, placed, write_json
from replicas.bench.engine_bench import FULL, QUICK, Report, measure_engine
from replicas.bench.machine import Conditions
from replicas.bench.migrate_bench import CONTEXTS, MigrateReport, MoveFailed, measure_moves
from replicas.bench.shapes import SHAPES
from replicas.bench.start import load_for_bench
from replicas.model.errors import ModelError
from replicas.model.source import resolve_model


@click.group()
def bench() -> None:
    """Measure parts of the system on this machine."""


bench.add_command(route)
bench.add_command(gateway)


@bench.command()
@click.option("--json", "out", type=TO_FILE, callback=placed, metavar="OUT")
@click.option("--model", default="smollm2", show_default=True, metavar="PATH|smollm2|tiny")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
)
@click.option("--quick", is_flag=True, help="Short prompts and few steps: a look, not a figure.")
@click.option("--shape", type=click.Choice(sorted(SHAPES)), help="Single steps, without a model.")
@click.option("--random-weights", is_flag=True, help="What a --shape is filled with.")
@click.option("--device", default="cpu", show_default=True, help="Of a --shape: cpu or cuda.")
@click.option("--deterministic", is_flag=True, help="Of a --shape, by kernels that promise it.")
def engine(
    out: Path | None,
    model: str,
    dtype: str,
    quick: bool,
    shape: str | None,
    random_weights: bool,
    device: str,
    deterministic: bool,
) -> None:
    """Prefill, decode, floors, host share and prefix hits of one engine."""
    is_plain = device == "cpu" and not deterministic
    if (shape is not None) != random_weights or (shape is None and not is_plain):
        raise click.UsageError(
            "--shape and --random-weights go together; --device and --deterministic go with them."
        )
    if shape is not None:
        show_steps(out, shape, device, dtype, quick=quick, deterministic=deterministic)
        return
    try:
        progress(f"loading {model}")
        loaded = load_for_bench(model, dtype=dtype)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    report = measure_engine(loaded, QUICK if quick else FULL, progress)
    token_ns = detokenize_ns(resolve_model(model).path)
    write_json(out, {**asdict(report), "detokenize_ns": token_ns})
    show_table(batch_table(report))
    for line in (*notes(report), *text_notes(report, token_ns)):
        click.echo(line)


@bench.command()
@click.option("--json", "out", type=TO_FILE, callback=placed, metavar="OUT")
@click.option("--model", default="tiny", show_default=True, metavar="PATH|smollm2|tiny")
@click.option("--context", "contexts", type=int, multiple=True, metavar="TOKENS")
def migrate(out: Path | None, model: str, contexts: tuple[int, ...]) -> None:
    """Moves of one decoding sequence between two replicas, over loopback."""
    try:
        progress(f"loading {model}")
        loaded = load_for_bench(model, dtype="auto")
        report = asyncio.run(measure_moves(loaded, contexts or CONTEXTS, progress))
    except (ModelError, MoveFailed) as error:
        raise click.ClickException(str(error)) from error
    write_json(out, asdict(report))
    show_table(move_table(report))
    click.echo(
        f"medians of {report.repeats} moves; anew: the same context computed at the target instead"
    )
    click.echo(where(report.conditions))


def move_table(report: MigrateReport) -> Table:
    """One row per context length."""
    made = table(
        title_of(report.conditions),
        (),
        (
            *("context", "MiB sent", "stages", "total ms", "MB/s", "frozen ms", "step ms"),
            *("downtime ms", "in steps", "anew ms"),
        ),
    )
    for row in report.moves:
        made.add_row(
            str(row.context_tokens),
            f"{row.bytes_sent / (1 << 20):.1f}",
            str(row.stages),
            f"{row.total_ms:.0f}",
            f"{row.mb_per_s:.0f}",
            f"{row.frozen_ms:.1f}",
            f"{row.step_ms:.1f}",
            f"{row.downtime_ms:.1f}",
            f"{row.downtime_steps:.1f}",
            f"{row.recompute_ms:.0f}",
        )
    return made


def title_of(conditions: Conditions) -> str:
    """What was measured."""
    return f"{conditions.model}, {conditions.dtype}, {conditions.kernels} kernels"


def where(conditions: Conditions) -> str:
    """On what it was measured."""
    return (
        f"on {conditions.cpu} ({conditions.cpu_capability}), {conditions.threads} thread, "
        f"torch {conditions.torch}"
    )


def batch_table(report: Report) -> Table:
    """One row per batch; x is the ratio to the floor."""
    made = table(
        title_of(report.conditions),
        (),
        (
            *("batch", "prefill tok/s", "x floor", "decode tok/s", "step ms", "floor ms"),
            *("x floor", "host", "RSS MiB"),
        ),
    )
    for row in report.batches:
        made.add_row(
            str(row.batch),
            f"{row.prefill_tokens_per_s:.0f}",
            f"{row.prefill_ratio:.2f}",
            f"{row.decode_tokens_per_s:.1f}",
            f"{row.step_ms:.1f}",
            f"{row.floor_ms:.1f}",
            f"{row.ratio:.2f}",
            f"{row.host_share:.1%}",
            str(row.resident_mib),
        )
    return made


def text_notes(report: Report, token_ns: int | None) -> list[str]:
    """What text costs, where the model has any, next to the step that makes most of it."""
    if token_ns is None:
        return []
    most = report.batches[-1]
    share = most.batch * token_ns / (most.step_ms * 1e6)
    return [
        f"detokenising, at the gateway: {token_ns / 1e3:.2f} us a token, {share:.2%} of a step "
        f"of {most.batch}"
    ]


def notes(report: Report) -> list[str]:
    """What does not fit a row, a sentence each."""
    prefix, conditions, rates = report.prefix, report.conditions, report.rates
    cascade = report.cascade
    return [
        f"prefix hit: {prefix.hit_tokens} of {prefix.prompt_tokens} prompt tokens found, TTFT "
        f"{prefix.cold_ttft_ms:.0f} ms cold, {prefix.hit_ttft_ms:.0f} ms with the hit "
        f"({prefix.cold_ttft_ms / prefix.hit_ttft_ms:.1f}x)",
        f"attention of {cascade.sharing}, ms a step: {cascade.shared_ms:.1f} sharing, "
        f"{cascade.apart_ms:.1f} each row alone, {cascade.copies_ms:.1f} with no block in common, "
        f"{cascade.torch_ms:.1f} in torch",
        f"measured here: reads {rates.read_bytes_per_s / 1e9:.1f} GB/s, multiplies "
        f"{rates.flop_per_s / 1e9:.0f} GFLOP/s",
        where(conditions),
    ]
