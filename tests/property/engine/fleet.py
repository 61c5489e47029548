"""Two engines, between which sequences move while they decode, and blocks are copied.

A `Transfer` does by hand what two replicas do over a wire: reserve, copy what
is full, freeze, copy the rest, commit; it can be broken off at every stage. It
copies the shadow's slots from block to block, so that a block too few, a wrong
one, or one that somebody else holds changes what a client is told: each choice
must say exactly what it would have said undisturbed, wherever it runs.

A `Fetch` brings the first blocks of a request that waits, some at a time, and
stops anywhere: what it has brought must be a hit or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from protos.messages import Refusal, Request, RequestId
from replicas.engine.arrival import Arrival, ArrivalState
from replicas.engine.config import EngineConfig
from replicas.engine.export import Export, ExportState
from replicas.engine.hold import Hold, HoldState
from tests.property.engine.shadow import World


@dataclass(slots=True)
class Transfer:
    """One sequence on its way."""

    source: World
    target: World
    request_id: RequestId  # at the source
    choice: int
    export: Export
    arrival: Arrival
    moved_id: RequestId  # at the target
    copied: int  # leading blocks that are in place at the target
    frozen_at: int = 0  # tokens computed when it was last frozen

    @property
    def is_over(self) -> bool:
        """Whether one of the two engines has ended it."""
        is_gone = self.export.state is ExportState.GONE
        return is_gone or self.arrival.state is not ArrivalState.RESERVED

    @property
    def is_between_steps(self) -> bool:
        """Whether blocks may be read and written now."""
        return not self.source.is_mid_step and not self.target.is_mid_step

    def copy(self) -> None:
        """Bring what can be brought over; half a block only if it will not grow."""
        is_live = self.export.state is not ExportState.FROZEN
        assert is_live or self.export.computed == self.frozen_at, "a frozen sequence moved on"
        size = self.source.engine.config.card.block_size
        stop = self.export.computed // size
        if self.export.state is ExportState.FROZEN:
            stop = -(-self.export.computed // size)
        if stop <= self.copied:
            return
        targets = self.arrival.blocks(self.copied, stop)
        if targets is None:
            self.abort()
            return
        payloads = self.source.kv.read_blocks(self.export.blocks(self.copied, stop))
        self.target.kv.write_blocks(targets, payloads)
        self.copied = stop

    def freeze(self) -> None:
        """Let it stand still at the source."""
        self.export.freeze()
        self.frozen_at = self.export.computed
        self.source.clients[self.request_id].is_moved = True

    def thaw(self) -> None:
        """Let it go on at the source; half a block grows again."""
        self.export.thaw()
        size = self.source.engine.config.card.block_size
        self.copied = max(self.arrival.held, min(self.copied, self.export.computed // size))

    def commit(self, *, is_lost: bool) -> bool:
        """Hand it over. If the answer gets lost the source keeps its own, and both run."""
        request = replace(self.export.request(), request_id=self.moved_id)
        said = self.source.clients[self.request_id].received[self.choice]
        assert list(request.output) == said, "not what its client was told"
        if not self.arrival.admit(request.output, self.export.computed):
            self.abort()
            return False
        self.target.enter(request)
        if is_lost:
            self.export.abandon()
        else:
            self.export.complete()
            self.source.lose(self.request_id, self.choice)
        return True

    def abort(self) -> None:
        """The source keeps it."""
        self.arrival.drop()
        self.export.abandon()


@dataclass(slots=True)
class Fetch:
    """The first blocks of a request, on their way to it."""

    source: World
    target: World
    hold: Hold

    def bring(self, count: int) -> int:
        """Copy the next blocks, at most so many; lets go when there are none to come."""
        if self.hold.state is not HoldState.HELD:
            return 0
        coming = self.hold.look()
        contents = self.hold.contents(coming[:count].stop)
        found = self.source.engine.find_blocks(contents)[coming.start :]
        payloads = self.source.kv.read_blocks([block for block, _ in found])
        assert self.source.engine.intact(found) == len(found)
        blocks = self.hold.take(coming.start, len(found)) if found else None
        if blocks is None:
            self.hold.let_go()
            return 0
        self.target.kv.write_blocks(blocks, payloads)
        if not self.hold.put() or len(found) == len(coming):
            self.hold.let_go()
        return len(found)


class Fleet:
    """Worlds of one model, and the transfers and fetches between them."""

    def __init__(
        self, configs: Sequence[EngineConfig], make: Callable[[EngineConfig], World] = World
    ) -> None:
        self.worlds = [make(config) for config in configs]
        self.transfers: list[Transfer] = []
        self.fetches: list[Fetch] = []
        self.copied = 0  # blocks
        self.held = 0  # requests
        self.begun = self.moved = self.kept = self.warmed = 0

    def begin(self, source: World, target: World, request_id: RequestId, choice: int) -> None:
        """Start to move a choice, if it can be moved and the target has room."""
        export = source.engine.export(request_id, choice)
        if export is None:
            return
        self.begun += 1
        moved_id = RequestId(f"{request_id}/{choice}~{self.begun}")
        request = replace(export.request(), request_id=moved_id)
        arrival = target.engine.reserve(request, export.computed)
        if isinstance(arrival, Refusal):
            export.abandon()
            return
        transfer = Transfer(
            source, target, request_id, choice, export, arrival, moved_id, arrival.held
        )
        self.transfers.append(transfer)
        target.names.learn(request.salt, (*request.prompt, *request.output))
        target.verify()

    def advance(self, transfer: Transfer, what: str) -> None:
        """Take one stage of a transfer, if it can be taken now."""
        if transfer.is_over:
            self.kept += 1
            transfer.abort()
        elif what == "abort":
            transfer.abort()
        elif what == "thaw":
            transfer.thaw()
        elif transfer.is_between_steps:
            self._advance_between_steps(transfer, what)
        if transfer.is_over:
            self.transfers.remove(transfer)
        transfer.source.verify()
        transfer.target.verify()

    def _advance_between_steps(self, transfer: Transfer, what: str) -> None:
        if what != "copy" and transfer.export.state is ExportState.LIVE:
            transfer.freeze()
        transfer.copy()
        if what in ("commit", "commit and lose the answer") and not transfer.is_over:
            self.moved += transfer.commit(is_lost=what != "commit")

    def hand_back(self, source: World, target: World, request_id: RequestId, choice: int) -> None:
        """Withdraw a choice and resume it elsewhere from what its client has."""
        rest = source.withdraw(request_id, choice)
        if rest is not None:
            self.begun += 1
            target.submit(replace(rest, request_id=RequestId(f"{request_id}~{self.begun}")))

    def submit(self, source: World, target: World, request: Request, blocks: int) -> Refusal | None:
        """Offer a request, whose first blocks are to come from another engine, if any."""
        refused = target.submit(request)
        hold = target.engine.hold(request.request_id, blocks) if refused is None else None
        if hold is not None:
            # Who is held is passed by, by right.
            target.clients[request.request_id].is_moved = True
            self.held += 1
            self.fetches.append(Fetch(source, target, hold))
            target.verify()
        return refused

    def fetch(self, fetch: Fetch, count: int) -> None:
        """Copy some more blocks if that can be done now; none: give it up, at any time."""
        if not count:
            fetch.hold.let_go()
        elif not fetch.target.is_mid_step:
            self.copied += fetch.bring(count)
        if fetch.hold.state is not HoldState.HELD:
            self.fetches.remove(fetch)
        fetch.target.verify()

    def warm(self, source: World, target: World, limit: int) -> None:
        """Copy what most requests began with."""
        if source.is_mid_step or target.is_mid_step:
            return
        for block, content in source.engine.hot_blocks(limit):
            taken = target.engine.import_block(content)
            if taken is None:
                continue
            target.names.meaning[content.block_hash] = source.names.meaning[content.block_hash]
            target.kv.write_blocks([taken], source.kv.read_blocks([block]))
            self.warmed += target.engine.confirm_block(taken)
        target.verify()

    def crash(self, world: World) -> None:
        """Lose one engine. The other one notices, and keeps or forgets what it had."""
        for transfer in [each for each in self.transfers if world in (each.source, each.target)]:
            transfer.abort()
            self.transfers.remove(transfer)
        self.fetches = [fetch for fetch in self.fetches if fetch.target is not world]
        world.crash()

    def finish(self) -> None:
        """Break off what moves, open what was cordoned, and run to the end."""
        for transfer in self.transfers:
            transfer.abort()
        self.transfers.clear()
        for fetch in self.fetches:
            fetch.hold.let_go()
        self.fetches.clear()
        for world in self.worlds:
            world.finish()


STAGES = (
    "copy",
    "copy",
    "freeze",
    "commit",
    "commit",
    "commit and lose the answer",
    "thaw",
    "abort",
)
