"""`blockyard incident --live`: four memory models over one real model.

The composition root of the one thing that has a foot in both worlds: the
baseline and the replay of the simulator, the runner and executor of a replica.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.live.incident.machine import LiveMachine
from orchestrator.live.incident.scale import BURST, REFERENCE, burst, case_for
from orchestrator.live.incident.wording import Drawn
from orchestrator.sim.incident.incident import Case, Incident, folded
from orchestrator.sim.incident.models import MODELS
from orchestrator.sim.incident.replay import Progress as Report
from orchestrator.sim.incident.replay import Replay, replay
from orchestrator.sim.incident.workload import Asking, workload
from orchestrator.sim.loop import NS_PER_S
from replicas.bench.machine import cpu_name
from replicas.bench.start import load_for_bench
from replicas.model.errors import ModelError
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner

MEASUREMENTS = 3  # of how fast this machine is


def play(seed: int, model: str) -> Incident:
    """The incident in small on this machine. A model that cannot be loaded ends the command."""
    try:
        loaded = load_for_bench(model, dtype="float32")
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    chats_per_s = measured_chats_per_s(loaded)
    return live_incident(seed, case_for(chats_per_s), loaded, where(loaded, chats_per_s))


def measured_chats_per_s(loaded: LoadedModel) -> float:
    """How many chats paged memory with sharing serves here, when they come all at once."""

    def ended_ns() -> int:
        asking, machine = asking_of(loaded, REFERENCE, 0), machine_of(loaded, REFERENCE)
        with machine:
            return replay("paged+sharing", burst(), REFERENCE.pool, asking, machine).ended_ns

    return BURST * NS_PER_S / median(ended_ns() for _ in range(MEASUREMENTS))


def live_incident(seed: int, case: Case, loaded: LoadedModel, where: str) -> Incident:
    """This case, one memory model after another."""
    with shown(case) as report:
        replays = [live_replay(name, seed, case, loaded, report) for name in MODELS]
    return folded(seed, case, where, replays)


def live_replay(name: str, seed: int, case: Case, loaded: LoadedModel, report: Report) -> Replay:
    """One memory model, with KV of its own."""
    asking, arrivals = asking_of(loaded, case, seed), workload(case.load, seed)
    with machine_of(loaded, case) as machine:
        return replay(name, arrivals, case.pool, asking, machine, report)


def asking_of(loaded: LoadedModel, case: Case, seed: int) -> Asking:
    """Requests in tokens of this model."""
    sizes, vocab_size = case.load.sizes, loaded.config.vocab_size
    return Asking(sizes, Drawn(vocab_size=vocab_size, prefix_tokens=sizes.prefix, seed=seed))


def machine_of(loaded: LoadedModel, case: Case) -> LiveMachine:
    """This model, with KV of its own."""
    pool = case.pool
    return LiveMachine(TorchRunner(loaded, blocks_total=pool.blocks, block_size=pool.block_size))


def where(loaded: LoadedModel, chats_per_s: float) -> str:
    """The conditions, in words."""
    return (
        f"{loaded.name}, float32, kernels: {loaded.kernels.name}, {torch.get_num_threads()} thread"
        f" of {cpu_name()}, by the time that it computes; it serves {chats_per_s:.3g} chats/s at"
        " most, and the load is scaled to that"
    )


@contextmanager
def shown(case: Case) -> Iterator[Report]:
    """A bar on stderr with the time left: how far the arrivals of all four have come."""
    end_s = case.load.end_s
    columns = (TextColumn("{task.description:18}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=end_s * len(MODELS))
        order = list(MODELS)

        def report(name: str, now_ns: int) -> None:
            done = order.index(name) * end_s + min(now_ns / NS_PER_S, end_s)
            bars.update(task, description=name, completed=done)

        yield report
