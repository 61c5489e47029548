"""Which blocks are hot, and how such blocks come from elsewhere."""

from __future__ import annotations

from dataclasses import replace

from protos.messages import BlockStored
from replicas.engine.block_pool import BlockContent
from replicas.engine.engine import Engine
from tests.unit.engine.driver import A, B, C, engine, report, request, run, step

SYSTEM, OTHER = tuple(range(8)), tuple(range(50, 58))


def served(*prompts: tuple[int, ...], blocks: int = 32) -> Engine:
    """An engine that has answered these, one after another."""
    subject = engine(blocks)
    for prompt in prompts:
        subject.submit(request(A, prompt, tokens_max=1))
        list(run(subject))
    return subject


def contents(subject: Engine, limit: int = 99) -> list[BlockContent]:
    return [content for _, content in subject.hot_blocks(limit)]


def test_the_blocks_that_most_requests_found_come_first_and_parents_before_children() -> None:
    subject = served((*SYSTEM, 1), (*OTHER, 1), (*OTHER, 2), (*SYSTEM, 2), (*SYSTEM, 3))
    hot = [content.tokens for content in contents(subject)]
    assert hot == [SYSTEM[:4], SYSTEM[4:], OTHER[:4], OTHER[4:]]
    assert contents(subject, limit=3) == contents(subject)[:3]


def test_what_nobody_found_is_not_hot() -> None:
    assert contents(served((*SYSTEM, 1), (*OTHER, 1))) == []


def test_a_block_that_was_evicted_is_hot_no_longer() -> None:
    subject = served((*SYSTEM, 1), (*SYSTEM, 2), (77,) * 12, (*SYSTEM, 3), blocks=3)
    assert contents(subject) == []


def test_a_block_that_waits_to_be_shared_is_not_found_at_every_step() -> None:
    subject = engine(sequences=1)
    subject.submit(request(A, (*SYSTEM, 1), tokens_max=9))
    step(subject)
    subject.submit(request(B, (*SYSTEM, 2), tokens_max=1))
    list(run(subject))
    subject.submit(request(C, (*OTHER, 2), tokens_max=1))
    list(run(subject))
    assert [subject._pool._finds[block] for block, _ in subject.hot_blocks(9)] == [1, 1]


def test_warm_blocks_are_found_once_they_are_confirmed() -> None:
    source, target = served((*SYSTEM, 1), (*SYSTEM, 2)), engine()
    taken = [target.import_block(content) for content in contents(source)]
    target.check()
    assert target.inventory() == () and report(target).blocks_used == 2
    for block in taken:
        assert block is not None and target.confirm_block(block)
        target.check()
    assert [type(event) for event in target.block_events()] == [BlockStored, BlockStored]
    assert report(target).blocks_cached == 2
    target.submit(request(A, (*SYSTEM, 9), tokens_max=1))
    assert [delta.hit_tokens for delta in run(target)] == [8]


def test_what_is_not_confirmed_before_the_next_step_is_dropped() -> None:
    source, target = served((*SYSTEM, 1), (*SYSTEM, 2)), engine()
    block = target.import_block(contents(source)[0])
    target.schedule()
    target.check()
    assert report(target).blocks_free == 32
    assert block is not None and not target.confirm_block(block)


def test_only_free_blocks_are_taken() -> None:
    source = served((*SYSTEM, 1), (*SYSTEM, 2))
    target = served((*OTHER, 1), blocks=3)
    assert target.import_block(contents(source)[0]) is not None
    assert target.import_block(contents(source)[1]) is None
    assert report(target).blocks_cached == 2


def test_what_is_here_or_orphaned_or_misnamed_is_not_wanted() -> None:
    source, target = served((*SYSTEM, 1), (*SYSTEM, 2)), engine()
    first, second = contents(source)
    assert target.import_block(second) is None
    assert target.import_block(replace(first, tokens=(9, 9, 9, 9))) is None
    assert target.import_block(replace(first, tokens=first.tokens[:3])) is None
    assert target.import_block(first) is not None
    assert target.import_block(first) is None
    assert source.import_block(first) is None


def test_a_child_that_came_late_is_evicted_before_its_parent() -> None:
    """The parent was released long before anything else here."""
    source = served((*SYSTEM, 1), (*SYSTEM, 2))
    target = served((*SYSTEM[:4], 1), (*OTHER[:4], 1), blocks=4)
    parent, child = contents(source)
    block = target.import_block(child)
    assert block is not None and target.confirm_block(block)
    target.submit(request(A, (77,) * 12, tokens_max=1))
    step(target)
    target.check()
    assert parent.block_hash in target.inventory()
    assert child.block_hash not in target.inventory()
