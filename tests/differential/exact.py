"""Whether a context has one answer: logits and choices of many schedules, next to each other.

A `Ledger` hears the logits of every step, each under all the tokens that they
follow. What follows the same tokens must be the same, whatever the step looked
like: who else was in it, in which chunks the prompt came, what was found in
the cache, where the sequence ran before, whether it was paused on its way, and
whether the tokens were chosen or guessed.

A `Site` is one engine on one runner; sequences move between sites of a kind
while they decode, as between replicas. Everything is drawn from a seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from protos.messages import ReplicaId, Request, RequestId, SampledToken
from replicas.engine.acceptance import samples_along
from replicas.engine.arrival import Arrival
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.export import Export, ExportState
from replicas.engine.plan import StepPlan
from replicas.engine.step_times import StepTimes
from replicas.model.kernels.seam import ModelStep
from replicas.model.kernels.visits import SHARING_ROWS, SHARING_TOKENS
from replicas.model.loading import LoadedModel
from replicas.model.runner import TorchRunner
from replicas.model.transformer import Transformer

STEPS_MAX = 5000
Said = dict[tuple[str, int], list[SampledToken]]  # by request and choice


@dataclass(slots=True)
class Ledger:
    """The logits after each context, as they were first computed."""

    tolerance: float = 0.0  # 0: not a bit may differ
    compared: int = 0
    farthest: float = 0.0
    _first: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def enter(self, context: tuple[int, ...], logits: Tensor) -> None:
        first = self._first.setdefault(context, logits)
        if first is logits:
            return
        self.compared += 1
        if not torch.equal(first, logits):
            self.farthest = max(self.farthest, float((first - logits).abs().max()))
            assert self.farthest <= self.tolerance, f"after {len(context)} tokens"


class Overheard(Transformer):
    """A transformer whose logits are kept as they are before anything is chosen from them."""

    def __init__(self, model: LoadedModel) -> None:
        self._inner = model.transformer
        self.last = torch.empty(0)

    def logits(self, step: ModelStep) -> Tensor:
        logits = self._inner.logits(step)
        self.last = logits.clone()
        return logits


@dataclass(frozen=True, slots=True)
class Schedule:
    """What may not matter."""

    block_size: int = 16
    blocks_total: int = 1024
    step_tokens_max: int = 4096
    sequences_max: int = 64
    guesses_max: int = 0
    host_blocks: int = 0


class Site:
    """An engine that begins cold, its runner, and what its plans were like."""

    def __init__(self, model: LoadedModel, schedule: Schedule, ledger: Ledger) -> None:
        self._overheard = Overheard(model)
        self._ledger = ledger
        self.block_size = schedule.block_size
        self.engine = Engine(
            EngineConfig(
                model.card(schedule.block_size),
                schedule.blocks_total,
                schedule.step_tokens_max,
                schedule.sequences_max,
                prompt_token_ns=1,  # and a move takes nothing: who can be paused is
                host_blocks=schedule.host_blocks,
                guesses_max=schedule.guesses_max,
            )
        )
        self.runner = TorchRunner(
            replace(model, transformer=self._overheard),
            blocks_total=schedule.blocks_total,
            block_size=schedule.block_size,
            host_blocks=schedule.host_blocks,
        )
        self.names: dict[str, str] = {}  # of requests that came under another
        self.seen = Counter[str]()

    def step(self, said: Said) -> None:
        """One step, if there is one; what it says is appended."""
        plan = self.engine.schedule()
        if plan is None:
            return
        outcome = self.runner.run(plan)
        along = [samples for row in plan.rows if row.samples for samples in samples_along(row)]
        for samples, logits in zip(along, self._overheard.last, strict=True):
            for sample in samples:
                self._ledger.enter((*sample.prompt, *sample.output), logits)
        self._note(plan)
        for delta in self.engine.apply(outcome):
            name = self.names.get(delta.request_id, delta.request_id)
            tokens = said.setdefault((name, delta.choice), [])
            assert delta.first_index == len(tokens), "a delta lost or repeated"
            tokens.extend(delta.tokens)
        self.engine.check()

    def _note(self, plan: StepPlan) -> None:
        """Which of the cases that the tests are about this plan has."""
        blocks = SHARING_TOKENS // self.block_size
        decodes = [row for row in plan.rows if len(row.tokens) == 1 + row.guesses]
        alike = Counter(
            row.block_table[:blocks] for row in decodes if len(row.block_table) > blocks
        )
        self.seen["steps"] += 1
        self.seen["shared"] += max(alike.values(), default=0) >= SHARING_ROWS
        self.seen["mixed"] += 0 < len(decodes) < len(plan.rows)
        self.seen["chunked"] += any(not row.samples for row in plan.rows)
        self.seen["copies"] += len(plan.copies)

    def note_counters(self) -> None:
        snapshot = self.engine.snapshot(
            replica_id=ReplicaId("r"), epoch=1, number=1, times=StepTimes()
        )
        assert snapshot.host_blocks_used == 0, "nobody is here, and something is kept for him"
        self.seen["preemptions"] += snapshot.counters.preemptions
        self.seen["hits"] += snapshot.counters.hit_tokens
        self.seen["restored"] += snapshot.counters.restored_tokens
        self.seen["accepted"] += snapshot.counters.accepted_tokens
        self.seen["refuted"] += snapshot.counters.guessed_tokens - snapshot.counters.accepted_tokens


@dataclass(slots=True)
class Move:
    """A sequence between two sites: its blocks are copied while it decodes, then the rest."""

    source: Site
    target: Site
    name: str
    export: Export
    arrival: Arrival
    copied: int

    def copy(self, stop: int) -> bool:
        """Bring blocks over up to `stop`; whether there was room."""
        if stop <= self.copied:
            return True
        places = self.arrival.blocks(self.copied, stop)
        if places is None:
            return False
        payloads = self.source.runner.read_blocks(self.export.blocks(self.copied, stop))
        self.target.runner.write_blocks(places, payloads)
        self.copied = stop
        return True

    def finish(self) -> bool:
        """Stop it, bring the rest, let it run on; whether it has moved."""
        size = self.source.block_size
        if self.export.state is not ExportState.LIVE:
            self.arrival.drop()
            return False
        self.export.freeze()
        computed = self.export.computed
        output = self.export.request().output
        if self.copy(-(-computed // size)) and self.arrival.admit(output, computed):
            self.export.complete()
            return True
        self.arrival.drop()
        self.export.abandon()
        return False


def begin_move(source: Site, target: Site, said: Said, rng: random.Random) -> Move | None:
    """Start to move a choice that has said something, if there is one and room for it."""
    for name, choice in rng.sample(sorted(said), len(said)):
        here = [own for own, of in source.names.items() if of == name] or [name]
        for own in here:
            export = source.engine.export(RequestId(own), choice)
            if export is None:
                continue
            moved = RequestId(f"{name}/{choice}~{source.seen['steps']}.{target.seen['steps']}")
            request = replace(export.request(), request_id=moved)
            arrival = target.engine.reserve(request, export.computed)
            if not isinstance(arrival, Arrival):
                export.abandon()
                return None
            target.names[moved] = name
            move = Move(source, target, name, export, arrival, arrival.held)
            move.copy(export.computed // source.block_size)
            return move
    return None


def play(sites: Sequence[Site], requests: Sequence[Request], rng: random.Random) -> Said:
    """Submit at drawn times, run until all is said, and move sequences between the sites."""
    said: Said = {}
    waiting = list(requests)
    moves: list[Move] = []
    for _ in range(STEPS_MAX):
        while waiting and rng.random() < 0.4:
            assert rng.choice(sites).engine.submit(waiting.pop(0)) is None
        for site in sites:
            site.step(said)
        for move in [each for each in moves if rng.random() < 0.5]:
            move.target.seen["moves"] += move.finish()
            moves.remove(move)
        if len(sites) > 1 and rng.random() < 0.3:
            source, target = rng.sample(list(sites), 2)
            begun = begin_move(source, target, said, rng)
            moves += [begun] if begun else []
        if not waiting and all(site.engine.is_idle for site in sites):
            break
    for move in moves:
        move.arrival.drop()
    for site in sites:
        assert site.engine.is_idle, "some have not finished"
        site.note_counters()
    return said
