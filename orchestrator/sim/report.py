"""What a simulated run amounts to: one flat record of figures, and its fingerprint.

Times are seconds from arrival at the gateway. Everything but `wall_s` and
`events_per_s` is a function of the run's configuration, traffic and seed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.policy.route import RouteReason
from orchestrator.sim.client import Answered, Outcome, Refused
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.world import History
from orchestrator.workload.quantiles import Figures, spread_of


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one run, as they are written to JSON."""

    policy: str
    seed: int
    requests: int
    completed: int
    refused: int
    refused_by_code: dict[str, int]
    placed_by_reason: dict[str, int]
    hit_blocks_ratio: float  # prompt blocks found, of all prompt blocks
    ttft_s: Figures
    ttft_s_by_tag: dict[str, Figures]
    tpot_s: Figures
    imbalance: float  # busy time of the busiest replica over the mean; 1 is even
    recomputed_tokens: int
    copied_blocks: int  # of prompts: found because they had been copied from another replica
    preemptions: int
    virtual_s: float
    events: int  # steps and messages
    events_per_s: float
    wall_s: float
    trace_hash: str


def report(history: History, *, wall_s: float) -> Report:
    """Fold a history into its report."""
    answered = [o for o in history.outcomes if isinstance(o, Answered)]
    refused = [o for o in history.outcomes if isinstance(o, Refused)]
    tags = sorted({answer.tag for answer in answered if answer.tag})
    counters = [snapshot.counters for snapshot in history.snapshots]
    events = sum(c.steps for c in counters) + history.messages
    return Report(
        policy=history.config.policy,
        seed=history.config.seed,
        requests=len(history.outcomes),
        completed=len(answered),
        refused=len(refused),
        refused_by_code=dict(sorted(Counter(o.code for o in refused).items())),
        placed_by_reason={r.value: history.placed[r] for r in RouteReason if r in history.placed},
        hit_blocks_ratio=hit_blocks_ratio(answered, history.config.block_size),
        ttft_s=spread_of(ttfts(answered), (50, 90, 99), mean=True),
        ttft_s_by_tag={
            tag: spread_of(ttfts([a for a in answered if a.tag == tag]), (50, 90, 99), mean=True)
            for tag in tags
        },
        tpot_s=spread_of(tpots(answered), (50, 99), mean=False),
        imbalance=max(history.busy_ns) * len(history.busy_ns) / max(1, sum(history.busy_ns)),
        recomputed_tokens=sum(c.recomputed_tokens for c in counters),
        copied_blocks=history.copied_blocks,
        preemptions=sum(c.preemptions for c in counters),
        virtual_s=history.ended_ns / NS_PER_S,
        events=events,
        events_per_s=events / wall_s,
        wall_s=wall_s,
        trace_hash=trace_hash(history),
    )


def hit_blocks_ratio(answered: Sequence[Answered], block_size: int) -> float:
    """Hit blocks of all prompt blocks, partial last ones included."""
    blocks = sum(-(-answer.prompt_tokens // block_size) for answer in answered)
    hits = sum(answer.hit_tokens // block_size for answer in answered)
    return hits / max(1, blocks)


def ttfts(answered: Sequence[Answered]) -> list[float]:
    """Seconds from arrival to the first token, sorted."""
    return sorted((answer.first_ns - answer.arrival_ns) / NS_PER_S for answer in answered)


def tpots(answered: Sequence[Answered]) -> list[float]:
    """Mean seconds between tokens of each answer that has several, sorted."""
    return sorted(
        (answer.last_ns - answer.first_ns) / (len(answer.tokens) - 1) / NS_PER_S
        for answer in answered
        if len(answer.tokens) > 1
    )


def trace_hash(history: History) -> str:
    """Digest of all that happened, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for line in trace_lines(history.outcomes):
        digest.update(f"{line}\n".encode())
    for snapshot in history.snapshots:
        digest.update(f"{snapshot}\n".encode())
    return digest.hexdigest()


def trace_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """One line for each outcome, in the order in which they came to be."""
    for outcome in outcomes:
        yield repr(outcome)
