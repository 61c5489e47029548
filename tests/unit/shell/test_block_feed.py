"""The registry ends up believing exactly what the engine holds.

Method: random stories of block events, lost answers, gaps and new epochs,
played to a shadow registry that applies batches as protos/registry.py says.
Power: letting the first word of a name win in `add`, or forgetting that a
batch was offered, fails the story test.
"""

from __future__ import annotations

from enum import Enum, auto

from hypothesis import given
from hypothesis import strategies as st

from protos.hashing import BlockHash
from protos.messages import BlockEvent, BlockRemoved, BlockStored
from protos.registry import BlockBatch
from replicas.shell.block_feed import BlockFeed

HASHES_MAX = 3
PENDING_MAX = 8


def name(number: int) -> BlockHash:
    return BlockHash(bytes([number]))


class Play(Enum):
    """What happens between two block events."""

    SEND = auto()
    LOSE_ANSWER = auto()  # applied, but we do not know
    LOSE_BATCH = auto()  # not applied, and we do not know either
    GAP = auto()  # answered False
    NEW_EPOCH = auto()


class ShadowRegistry:
    def __init__(self) -> None:
        self.held: set[BlockHash] = set()
        self.expected = 0

    def apply(self, batch: BlockBatch) -> None:
        if batch.number < self.expected:
            return
        assert batch.number == self.expected or batch.complete
        if batch.complete:
            self.held.clear()
        self.held -= set(batch.removed)
        self.held |= set(batch.stored)
        self.expected = batch.number + 1


class Story:
    """An engine that holds names, its feed, and the registry that listens."""

    def __init__(self) -> None:
        self.held: dict[BlockHash, None] = {}
        self.registry = ShadowRegistry()
        self.feed = BlockFeed(
            lambda: tuple(self.held), hashes_max=HASHES_MAX, pending_max=PENDING_MAX
        )

    def toggle(self, number: int) -> None:
        event: BlockEvent
        if name(number) in self.held:
            del self.held[name(number)]
            event = BlockRemoved(name(number))
        else:
            self.held[name(number)] = None
            event = BlockStored(name(number))
        self.feed.add((event,), 0)

    def play(self, play: Play) -> None:
        if play is Play.NEW_EPOCH:
            self.registry = ShadowRegistry()
            self.feed.begin_epoch(0)
            return
        batch = self.feed.offer()
        if batch is None:
            return
        assert len(batch.stored) + len(batch.removed) <= HASHES_MAX
        match play:
            case Play.SEND:
                self.registry.apply(batch)
                self.feed.settle()
            case Play.LOSE_ANSWER:
                self.registry.apply(batch)
            case Play.GAP:
                self.feed.settle()
                self.feed.restart(0)

    def finish(self) -> None:
        while not self.feed.is_empty:
            self.play(Play.SEND)


plays = st.lists(st.integers(0, 12) | st.sampled_from(Play), max_size=60)


@given(plays)
def test_whatever_is_lost_on_the_way_the_registry_ends_up_right(steps: list[int | Play]) -> None:
    story = Story()
    for step in steps:
        if isinstance(step, Play):
            story.play(step)
        else:
            story.toggle(step)
    story.finish()
    assert story.registry.held == set(story.held)


def test_only_the_last_word_on_a_name_goes_out() -> None:
    story = Story()
    story.finish()
    for number in (1, 2, 1, 3, 2, 2):  # 1 comes and goes; 2 comes, goes and comes; 3 comes
        story.toggle(number)
    batch = story.feed.offer()
    assert batch is not None
    assert (batch.stored, batch.removed) == ((name(3), name(2)), (name(1),))


def test_an_epoch_opens_with_a_complete_batch_numbered_0() -> None:
    story = Story()
    for number in range(5):
        story.toggle(number)
    story.feed.begin_epoch(0)
    first = story.feed.offer()
    assert first == BlockBatch(number=0, stored=tuple(map(name, range(3))), complete=True)
    story.feed.settle()
    rest = story.feed.offer()
    assert rest == BlockBatch(number=1, stored=tuple(map(name, range(3, 5))), complete=False)


def test_an_empty_inventory_is_told_too() -> None:
    story = Story()
    assert story.feed.offer() == BlockBatch(number=0, stored=(), complete=True)


def test_an_unanswered_batch_is_offered_again_unchanged() -> None:
    story = Story()
    story.finish()
    story.toggle(1)
    offered = story.feed.offer()
    story.toggle(1)
    assert story.feed.offer() is offered


def test_what_is_owed_is_as_old_as_its_oldest_change_without_an_answer() -> None:
    """Power: taking the newest change instead, or forgetting what was offered, fails it."""
    feed = BlockFeed(tuple, hashes_max=2, pending_max=PENDING_MAX)
    assert feed.owed_since_ns is None, "nobody is owed anything before the first epoch"
    feed.begin_epoch(10)
    assert feed.owed_since_ns == 10
    feed.offer()
    feed.settle()
    assert feed.owed_since_ns is None
    for number in range(3):
        feed.add((BlockStored(name(number)),), 20 + number)
    assert feed.owed_since_ns == 20
    feed.offer()
    assert feed.owed_since_ns == 20, "it may be lost"
    feed.settle()
    assert feed.owed_since_ns == 22
    feed.add((BlockStored(name(2)),), 30)
    assert feed.owed_since_ns == 30, "only the last word on a name is owed"


def test_beyond_the_bound_everything_is_said_anew() -> None:
    story = Story()
    story.finish()
    for number in range(PENDING_MAX + 1):
        story.toggle(number)
    batch = story.feed.offer()
    assert batch is not None
    assert batch.complete
    story.registry.apply(batch)
    story.feed.settle()
    story.finish()
    assert story.registry.held == set(story.held)
