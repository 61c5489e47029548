"""What a move costs, and what its client sees of it, at several context lengths.

A sequence decodes alone at its source; once it has said some tokens it is
moved over loopback, and its gateway adopts it at the target. Downtime is the
gap in its token stream around the move, less a normal step. Beside it stands
what the move replaces: the target's time to compute the same context anew.

Both replicas share this machine's cores, memory bus included, and no wire is
in between: bytes a second are those of copying, checking and gRPC.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from protos.identity import request_digest
from protos.messages import Request, RequestId, SamplingParams
from protos.moves import Claim, MoveId, MoveOrder, MoveOutcome, MoveReport
from replicas.bench.machine import Conditions, cpu_name
from replicas.bench.migrate_end import BLOCK_SIZE, MigrateEnd
from replicas.model.loading import LoadedModel
from replicas.shell.link import GatewayLink

Progress = Callable[[str], None]
CONTEXTS = (256, 1024, 4096)
REPEATS = 3
TOKENS_BEFORE = 24  # said before the move is ordered
TOKENS_AFTER = 24  # read after it, from the target
TOKENS_MAX = 600  # of a request: more than it says while it is moved
DEADLINE_MS = 60_000
WARM_UP_TOKENS = 64


class MoveFailed(Exception):
    """A move that was to be measured did not take place."""


@dataclass(frozen=True, slots=True)
class MoveFigures:
    """The median of the repeats at one context length."""

    context_tokens: int
    blocks_sent: int
    bytes_sent: int
    stages: int
    total_ms: float
    frozen_ms: float  # at the source, from its last step until the target had it all
    step_ms: float  # between two tokens without a move
    gap_ms: float  # between the last token of the source and the first of the target
    recompute_ms: float  # until the first token of a prompt as long, at the target

    @property
    def downtime_ms(self) -> float:
        """The gap beyond a normal step."""
        return max(0.0, self.gap_ms - self.step_ms)

    @property
    def downtime_steps(self) -> float:
        return self.downtime_ms / self.step_ms

    @property
    def mb_per_s(self) -> float:
        return self.bytes_sent / self.total_ms / 1000


@dataclass(frozen=True, slots=True)
class MigrateReport:
    """Everything that a run measured, and under which conditions."""

    conditions: Conditions
    repeats: int
    moves: tuple[MoveFigures, ...]


@dataclass(frozen=True, slots=True)
class _Moved:
    report: MoveReport
    step_ms: float
    gap_ms: float
    recompute_ms: float


async def measure_moves(
    model: LoadedModel, contexts: tuple[int, ...], progress: Progress
) -> MigrateReport:
    """Move a sequence of each context length some times. Raises MoveFailed."""
    rows = []
    for context in contexts:
        blocks = (2 * context + 4 * (TOKENS_BEFORE + TOKENS_AFTER) + 1024) // BLOCK_SIZE
        source = MigrateEnd("source", model, blocks_total=blocks)
        target = MigrateEnd("target", model, blocks_total=blocks)
        async with source.serving(), target.serving():
            await _first_token_ms(target, model, f"warm-{context}", WARM_UP_TOKENS)
            moved = []
            for number in range(REPEATS):
                progress(f"move {number + 1} of {REPEATS} at {context} tokens")
                moved.append(await _move(source, target, model, f"{context}-{number}", context))
        rows.append(_figures(context, moved))
    return MigrateReport(_conditions(model), REPEATS, tuple(rows))


async def _move(
    source: MigrateEnd, target: MigrateEnd, model: LoadedModel, name: str, context: int
) -> _Moved:
    asked = _request(model, name, context - TOKENS_BEFORE, tokens_max=TOKENS_MAX)
    here, there = source.links.attach(), target.links.attach()
    source.links.submit(here, asked)
    times_ns = await _token_times(here, tokens=TOKENS_BEFORE)
    [sequence] = source.links.sequences(1)
    order = MoveOrder(MoveId(name), sequence.sequence_id, target.peer, DEADLINE_MS)
    moving = asyncio.create_task(source.move(order))
    times_ns += await _token_times(here)
    target.links.adopt(there, Claim(asked.request_id, 0, request_digest(asked), len(times_ns)))
    report = await moving
    if report.outcome is not MoveOutcome.MOVED:
        raise MoveFailed(f"the move at {context} tokens ended as {report.outcome.value}")
    first_ns, *_ = await _token_times(there, tokens=TOKENS_AFTER)
    source.links.detach(here, park=False)
    target.links.detach(there, park=False)
    before_ns = times_ns[1:TOKENS_BEFORE]  # the first token is the prompt's own step
    steps_ns = [after - before for before, after in pairwise(before_ns)]
    return _Moved(
        report,
        step_ms=statistics.median(steps_ns) / 1e6,
        gap_ms=(first_ns - times_ns[-1]) / 1e6,
        recompute_ms=await _first_token_ms(target, model, f"{name}-anew", context),
    )


async def _token_times(link: GatewayLink, *, tokens: int = TOKENS_MAX) -> list[int]:
    """When each of so many tokens arrived, or of all until a handoff."""
    times_ns: list[int] = []
    while len(times_ns) < tokens:
        events = await link.get()
        assert events is not None and not events.refusals, events
        for delta in events.deltas:
            times_ns += [time.perf_counter_ns()] * len(delta.tokens)
            if delta.finish is not None:
                raise MoveFailed("the sequence finished before it was moved")
        if events.handoffs:
            break
    return times_ns


async def _first_token_ms(
    end: MigrateEnd, model: LoadedModel, name: str, prompt_tokens: int
) -> float:
    """How long a prompt of its own takes to its first token."""
    link = end.links.attach()
    began_ns = time.perf_counter_ns()
    end.links.submit(link, _request(model, name, prompt_tokens, tokens_max=TOKENS_MAX))
    [first_ns] = await _token_times(link, tokens=1)
    end.links.detach(link, park=False)
    return (first_ns - began_ns) / 1e6


def _request(model: LoadedModel, name: str, prompt_tokens: int, *, tokens_max: int) -> Request:
    """Greedy, of random tokens: no two share a block."""
    rng = random.Random(name)
    prompt = tuple(rng.randrange(model.config.vocab_size) for _ in range(prompt_tokens))
    return Request(RequestId(name), prompt, SamplingParams(tokens_max, temperature=0.0))


def _figures(context: int, moved: list[_Moved]) -> MoveFigures:
    reports = [each.report for each in moved]
    return MoveFigures(
        context_tokens=context,
        blocks_sent=round(statistics.median(report.blocks_sent for report in reports)),
        bytes_sent=round(statistics.median(report.bytes_sent for report in reports)),
        stages=round(statistics.median(report.stages for report in reports)),
        total_ms=statistics.median(report.total_ns for report in reports) / 1e6,
        frozen_ms=statistics.median(report.frozen_ns for report in reports) / 1e6,
        step_ms=statistics.median(each.step_ms for each in moved),
        gap_ms=statistics.median(each.gap_ms for each in moved),
        recompute_ms=statistics.median(each.recompute_ms for each in moved),
    )


def _conditions(model: LoadedModel) -> Conditions:
    return Conditions(
        cpu=cpu_name(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        model=model.name,
        dtype=str(model.dtype).removeprefix("torch."),
        kernels=model.kernels.name,
    )
