"""The swarm's power: each planted bug is found within few seeds, by its own words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from orchestrator.gateway.attachment import Followed
from orchestrator.gateway.told import Told
from orchestrator.sim.causes import causes
from orchestrator.sim.swarm.scenario import scenario
from orchestrator.sim.watched_registry import WatchedRegistry
from protos.messages import BlockEvent, BlockStored, Request, RequestId, SampledToken
from protos.registry import BlockBatch, Membership, ReplicaRecord
from replicas.engine.arrival import Arrival
from replicas.engine.block_pool import BlockPool
from replicas.engine.plan import BlockId
from replicas.engine.scheduler import Scheduler
from replicas.engine.sequence import Sequence, SequenceState
from replicas.shell.block_feed import BlockFeed
from replicas.shell.links import Links

SEEDS = 60


def found() -> str:
    """What broke in the first world that does."""
    for seed in range(SEEDS):
        try:
            scenario(seed).run()
        except Exception as error:
            return "\n".join(map(str, causes(error)))
    return ""


def test_a_token_dropped_at_a_handoff_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Links.receive

    def forgetful(
        self: Links, inner: RequestId, request: Request, said: Iterable[SampledToken]
    ) -> None:
        receive(self, inner, request, tuple(said)[:-1])

    monkeypatch.setattr(Links, "receive", forgetful)
    assert "a token is missing or came twice" in found()


def test_a_block_of_another_sequence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Arrival.blocks

    def shifted(self: Arrival, first: int, stop: int) -> tuple[BlockId, ...] | None:
        right = blocks(self, first, stop)
        return right[::-1] if right is not None else None

    monkeypatch.setattr(Arrival, "blocks", shifted)
    assert "got other tokens" in found()


def test_a_block_leaked_on_an_abort_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arrival, "drop", lambda self: None)
    assert "of its blocks are in use" in found()


def test_a_duplicate_after_a_resume_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Told.rest

    def repeating(self: Told, choice: int) -> Request:
        whole = rest(self, choice)
        return replace(whole, output=whole.output[:-1])

    monkeypatch.setattr(Told, "rest", repeating)
    assert "stream_broken" in found()


def test_a_registry_entry_that_outlives_its_epoch_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    join = WatchedRegistry.join

    async def haunted(self: WatchedRegistry, record: ReplicaRecord) -> Membership:
        former = set(self.believed(record.replica_id))
        membership = await join(self, record)
        self._entries[record.replica_id].held |= former
        return membership

    publish = WatchedRegistry.publish

    async def forgetful(self: WatchedRegistry, membership: Membership, batch: BlockBatch) -> bool:
        return await publish(self, membership, replace(batch, complete=False))

    monkeypatch.setattr(WatchedRegistry, "join", haunted)
    monkeypatch.setattr(WatchedRegistry, "publish", forgetful)
    assert "the registry believes" in found()


def test_a_token_altered_at_a_resumption_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Told.rest

    def altered(self: Told, choice: int) -> Request:
        whole = rest(self, choice)
        return replace(whole, output=(*whole.output[:-1], *(t ^ 1 for t in whole.output[-1:])))

    monkeypatch.setattr(Told, "rest", altered)
    assert "got other tokens" in found()


def test_a_forgotten_request_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica's refusal that reaches nobody: its client would wait for ever."""
    monkeypatch.setattr(Followed, "refuse", lambda self, refusal: None)
    assert "requests never ended" in found()


def test_a_registry_that_misses_evictions_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    add = BlockFeed.add

    def deaf(self: BlockFeed, events: Iterable[BlockEvent], now_ns: int) -> None:
        add(self, [event for event in events if isinstance(event, BlockStored)], now_ns)

    monkeypatch.setattr(BlockFeed, "add", deaf)
    assert "the registry believes" in found()


def test_an_illegal_transition_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence that arrives is put where it does not belong."""
    take_over = Scheduler.take_over

    def misplaced(self: Scheduler, sequence: Sequence) -> bool:
        is_taken = take_over(self, sequence)
        if is_taken:
            sequence.move_to(SequenceState.RESERVED)
        return is_taken

    monkeypatch.setattr(Scheduler, "take_over", misplaced)
    assert "running to reserved" in found()


def test_a_lost_block_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that is released goes nowhere: neither free nor cached nor used."""
    release = BlockPool.release

    def losing(self: BlockPool, block: BlockId) -> None:
        release(self, block)
        if self.blocks_free > 1 and self._free[-1] == block:
            self._free.pop()

    monkeypatch.setattr(BlockPool, "release", losing)
    assert "a block was lost" in found()
