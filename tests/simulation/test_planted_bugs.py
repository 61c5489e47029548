"""The checkers' power: each planted bug ends the world with the checker's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

import pytest

from orchestrator.gateway.attachment import Attachment
from orchestrator.sim import executor
from protos.messages import BlockEvent, BlockStored, Delta, SampledToken, StepEvents
from replicas.engine.block_pool import BlockPool
from replicas.engine.plan import BlockId, Sample
from replicas.shell.block_feed import BlockFeed
from tests.simulation.workloads import run, small_config, small_traffic

SEED = 1


def failures(error: BaseException) -> Iterator[str]:
    """The messages of all assertions in a tree of groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from failures(inner)
    elif isinstance(error, AssertionError):
        yield str(error)


def caught() -> str:
    """What the checkers say about the world of the seed."""
    with pytest.raises(ExceptionGroup) as raised:
        run(small_config(SEED), small_traffic(SEED))
    return "\n".join(failures(raised.value))


def test_the_world_without_a_bug_passes() -> None:
    run(small_config(SEED), small_traffic(SEED))


def on_the_way(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Delta], tuple[Delta, ...]]
) -> None:
    """Deltas arrive at their gateway changed."""
    deal = Attachment.deal

    def dealt(self: Attachment, events: StepEvents) -> None:
        deltas = tuple(chain.from_iterable(map(change, events.deltas)))
        deal(self, replace(events, deltas=deltas))

    monkeypatch.setattr(Attachment, "deal", dealt)


def lose(monkeypatch: pytest.MonkeyPatch, is_lost: Callable[[Delta], bool]) -> None:
    on_the_way(monkeypatch, lambda delta: () if is_lost(delta) else (delta,))


def test_a_token_lost_inside_an_answer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Production's own stream notices first: its client gets an error, not a wrong answer."""
    lose(monkeypatch, lambda delta: delta.first_index == 3 and delta.finish is None)
    assert "stream_broken" in caught()


def test_an_end_lost_on_the_link_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_lost(delta: Delta) -> bool:
        return delta.first_index + len(delta.tokens) == 4 and delta.finish is not None

    lose(monkeypatch, is_lost)
    assert "requests never ended" in caught()


def test_a_token_that_changes_on_the_link_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_way(
        monkeypatch,
        lambda delta: (replace(delta, tokens=(SampledToken(9), *delta.tokens[1:])),),
    )
    assert "got other tokens" in caught()


def test_tokens_of_another_request_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = executor.choose

    def mixed_up(sample: Sample) -> SampledToken:
        return choose(replace(sample, seed=sample.seed // 2))

    monkeypatch.setattr(executor, "choose", mixed_up)
    assert "got other tokens" in caught()


def test_a_leaked_block_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    release = BlockPool.release_table

    def leaky(self: BlockPool, table: list[BlockId]) -> None:
        if len(table) > 5:
            table.pop()
        release(self, table)

    monkeypatch.setattr(BlockPool, "release_table", leaky)
    assert "references, tables have" in caught()


def test_an_eviction_that_nobody_is_told_of_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    add = BlockFeed.add

    def hushed(self: BlockFeed, events: Iterable[BlockEvent], now_ns: int) -> None:
        add(self, [event for event in events if isinstance(event, BlockStored)], now_ns)

    monkeypatch.setattr(BlockFeed, "add", hushed)
    assert "the registry believes" in caught()
