from __future__ import annotations

import pytest

from protos.hashing import BlockHash, block_hash
from replicas.engine import sequence as sequence_module
from replicas.engine.block_pool import BlockPool
from replicas.engine.prefix_cache import PrefixCache
from replicas.engine.sequence import Sequence
from tests.unit.engine.driver import card, request


def sequence(prompt: tuple[int, ...], salt: bytes = b"") -> Sequence:
    asked = request(prompt=prompt, salt=salt)
    return Sequence(asked, card(2).scope(salt), 2, arrival=0, output_max=4)


class Stage:
    """A cache over eight blocks of two tokens, and computed sequences to store."""

    def __init__(self) -> None:
        self.pool = BlockPool(8)
        self.cache = PrefixCache(self.pool)

    def compute(self, prompt: tuple[int, ...], salt: bytes = b"") -> Sequence:
        """A sequence with all of its prompt computed into fresh blocks, and stored."""
        subject = sequence(prompt, salt)
        subject.block_table.extend(self.pool.allocate() for _ in range(-(-len(prompt) // 2)))
        subject.computed = len(prompt)
        self.cache.store(subject)
        return subject

    def hits(self, prompt: tuple[int, ...], salt: bytes = b"") -> int:
        """Blocks that a prompt would find; they are given back."""
        subject = sequence(prompt, salt)
        self.cache.match(subject)
        assert len(subject.block_table) == subject.named
        self.pool.release_table(subject.block_table)
        return subject.named


@pytest.mark.parametrize(
    ("prompt", "blocks"),
    [
        ((1, 2, 3, 4, 5, 6, 7), 2),  # the third block was never full
        ((1, 2, 3, 4, 5), 2),
        ((1, 2, 3, 4), 1),  # the last token is always computed
        ((1, 2, 3, 9, 5), 1),
        ((9, 2, 3, 4, 5), 0),
        ((3, 4, 5), 0),  # the same tokens after another prefix
        ((1,), 0),
    ],
)
def test_the_longest_common_prefix_of_full_blocks_is_found(
    prompt: tuple[int, ...], blocks: int
) -> None:
    stage = Stage()
    stage.compute((1, 2, 3, 4, 5))
    assert stage.hits(prompt) == blocks


def test_another_salt_finds_nothing() -> None:
    stage = Stage()
    stage.compute((1, 2, 3), salt=b"one")
    assert stage.hits((1, 2, 3), salt=b"one") == 1
    assert stage.hits((1, 2, 3), salt=b"two") == 0
    assert stage.hits((1, 2, 3)) == 0


def test_what_is_found_is_pinned_in_the_same_call() -> None:
    stage = Stage()
    stage.pool.release_table(stage.compute((1, 2, 3, 4)).block_table)
    subject = sequence((1, 2, 3, 4, 5))
    stage.cache.match(subject)
    for _ in range(stage.pool.blocks_available):
        stage.pool.allocate()
    assert all(stage.pool.references(block) == 1 for block in subject.block_table)
    assert stage.pool.find(subject.block_name(1)) == subject.block_table[1]


def test_the_second_to_compute_a_block_adopts_the_first_ones() -> None:
    stage = Stage()
    first, second = stage.compute((1, 2, 3, 4, 5)), stage.compute((1, 2, 3, 4, 9))
    assert second.block_table[:2] == first.block_table[:2]
    assert second.block_table[2] != first.block_table[2]
    assert stage.pool.blocks_used == 4
    stage.pool.check([first.block_table, second.block_table])


def test_an_adopted_parent_lets_the_next_block_be_stored() -> None:
    stage = Stage()
    first = stage.compute((1, 2))
    second = stage.compute((1, 2, 3, 4))
    stage.pool.release_table(first.block_table)
    assert stage.hits((1, 2, 3, 4, 5)) == 2
    stage.pool.check([second.block_table])


def collide(parent: BlockHash, tokens: tuple[int, ...]) -> BlockHash:
    """Every block of the same last token has the same name."""
    return block_hash(card(2).scope(), tokens[-1:])


def test_a_name_with_other_tokens_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_module, "block_hash", collide)
    stage = Stage()
    stage.compute((1, 2))
    assert stage.hits((1, 2, 3)) == 1
    assert stage.hits((8, 2, 3)) == 0


def test_a_name_after_another_parent_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_module, "block_hash", collide)
    stage = Stage()
    stage.compute((1, 2, 3, 4))
    stage.compute((5, 6))
    assert stage.hits((5, 6, 3, 4, 9)) == 1


def test_a_collision_keeps_the_rest_of_the_table_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_module, "block_hash", collide)
    stage = Stage()
    first = stage.compute((1, 2))
    second = stage.compute((8, 2, 5, 6))
    assert second.is_private and second.named == 0
    stage.pool.release_table(first.block_table)
    stage.cache.store(second)
    assert stage.pool.names() == tuple(first.block_name(index) for index in range(1))
