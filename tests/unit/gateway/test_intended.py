"""What replicas are about to hold, and what is remembered of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.intended import NAMES_MAX, IntendedBlocks
from protos.hashing import BlockHash, block_hashes, scope_hash
from protos.messages import ReplicaId
from protos.registry import Member, ReplicaRecord
from tests.unit.control.reports import CARD

A, B = ReplicaId("a"), ReplicaId("b")
EPOCHS = {A: 1, B: 1}
PROMPT = block_hashes(range(40 * 4), block_size=4, root=scope_hash(["m"]))
LATER = 100


def members(*replica_ids: ReplicaId, blocks: int = 1000) -> tuple[Member, ...]:
    return tuple(
        Member(ReplicaRecord(replica_id, "127.0.0.1:1", CARD, blocks), 1, draining=False)
        for replica_id in replica_ids
    )


def remembering(*replica_ids: ReplicaId, names_max: int = NAMES_MAX) -> IntendedBlocks:
    """With these members, for good."""
    listed = members(*replica_ids)
    return IntendedBlocks(lambda: listed, names_max=names_max)


def expecting(*, held: int = 0, epoch: int = 1, blocks: int = 40) -> IntendedBlocks:
    """The prompt was sent to a, which has the first blocks already."""
    intended = remembering(A, B)
    intended.expect(A, epoch, PROMPT[:blocks], held=held, until_ns=LATER)
    return intended


def test_blocks_of_a_placement_are_counted_on_before_the_registry_shows_them() -> None:
    assert expecting().foresee({}, PROMPT, EPOCHS, 0) == {A: 40}
    assert expecting(held=10).foresee({A: 10, B: 3}, PROMPT, EPOCHS, 0) == {A: 40, B: 3}


def test_a_prefix_that_is_half_shown_goes_on_with_what_is_to_come() -> None:
    intended = expecting()
    for shown in range(40):
        assert intended.foresee({A: shown}, PROMPT, EPOCHS, 0) == {A: 40}


def test_another_prompt_shares_what_it_shares() -> None:
    tokens = [*range(10 * 4), *range(900, 1000)]
    other = block_hashes(tokens, block_size=4, root=scope_hash(["m"]))
    assert expecting().foresee({}, other, EPOCHS, 0) == {A: 10}


def test_an_intention_ends_in_time() -> None:
    assert expecting().foresee({}, PROMPT, EPOCHS, LATER - 1) == {A: 40}
    assert expecting().foresee({}, PROMPT, EPOCHS, LATER) == {}


def test_an_intention_ends_with_the_replica_and_with_its_epoch() -> None:
    assert expecting().foresee({}, PROMPT, {B: 1}, 0) == {}
    assert expecting().foresee({}, PROMPT, {A: 2}, 0) == {}
    intended = expecting()
    intended.expect(A, 2, PROMPT[:5], held=0, until_ns=LATER)
    intended.expect(A, 1, PROMPT, held=0, until_ns=LATER)
    assert intended.foresee({}, PROMPT, {A: 2}, 0) == {A: 5}


def test_what_the_registry_has_shown_and_shows_no_more_is_gone() -> None:
    """Power: without `confirm` an evicted block would be counted on until its time is over."""
    intended = expecting()
    intended.confirm({A: 30}, PROMPT)
    assert intended.foresee({A: 20}, PROMPT, EPOCHS, 0) == {A: 20}
    assert intended.foresee({A: 30}, PROMPT, EPOCHS, 0) == {A: 40}


def test_without_a_registry_what_was_placed_is_remembered_also_after_its_time() -> None:
    intended = expecting()
    intended.confirm({A: 40}, PROMPT)
    assert intended.recall(PROMPT, EPOCHS) == {A: 40}
    assert intended.recall(PROMPT, {A: 2}) == {}
    assert intended.recall(PROMPT[1:], EPOCHS) == {A: 39}


def test_of_too_many_names_the_longest_unused_go_and_of_a_chain_the_leaf() -> None:
    intended = remembering(A, names_max=60)
    other = block_hashes(range(500, 660), block_size=4, root=scope_hash(["m"]))
    for prompt in (PROMPT, other):
        intended.expect(A, 1, prompt, held=0, until_ns=LATER)
    assert intended.recall(other, EPOCHS) == {A: 40}
    assert intended.recall(PROMPT, EPOCHS) == {A: 20}


@given(
    st.lists(
        st.tuples(st.sampled_from([A, B]), st.integers(0, 40), st.integers(0, 40)), max_size=20
    )
)
def test_what_is_remembered_of_a_chain_never_has_a_hole(
    placed: list[tuple[ReplicaId, int, int]],
) -> None:
    intended = remembering(A, B, names_max=64)
    for replica_id, length, held in placed:
        intended.expect(replica_id, 1, PROMPT[:length], held=held, until_ns=LATER)
    for replica_id in (A, B):
        alone = {replica_id: 1}
        known = [bool(intended.recall([name], alone)) for name in PROMPT]
        assert known == sorted(known, reverse=True)


def test_names_are_bounded_over_all_replicas() -> None:
    replicas = [ReplicaId(f"{n}") for n in range(10)]
    intended = remembering(*replicas, names_max=100)
    for replica_id in replicas:
        intended.expect(replica_id, 1, PROMPT, held=0, until_ns=LATER)
    found = intended.recall(PROMPT, dict.fromkeys(replicas, 1))
    assert sum(found.values()) <= 100


def test_replicas_that_come_and_go_leave_nothing_to_the_newest_but_room() -> None:
    """Power: sharing names out among all that ever were leaves the newest not one."""
    listed = members()
    intended = IntendedBlocks(lambda: listed, names_max=100)
    for life in range(200):
        replica_id = ReplicaId(f"{life}")
        listed = members(replica_id, ReplicaId(f"{life + 1}"))
        intended.expect(replica_id, 1, PROMPT, held=0, until_ns=LATER)
        assert intended.recall(PROMPT, {replica_id: 1}) == {replica_id: 40}
    every = {ReplicaId(f"{life}"): 1 for life in range(200)}
    assert set(intended.recall(PROMPT, every)) <= {ReplicaId("198"), ReplicaId("199")}


def test_who_comes_takes_its_share_from_those_that_are_there() -> None:
    listed = members(A)
    intended = IntendedBlocks(lambda: listed, names_max=50)
    intended.expect(A, 1, PROMPT, held=0, until_ns=LATER)
    listed = members(A, B)
    intended.expect(B, 1, PROMPT, held=0, until_ns=LATER)
    assert intended.recall(PROMPT, EPOCHS) == {A: 25, B: 25}


def test_of_a_replica_no_more_is_remembered_than_it_has_room_for() -> None:
    listed = members(A, blocks=12) + members(B, blocks=10_000)
    intended = IntendedBlocks(lambda: listed)
    for replica_id in (A, B):
        intended.expect(replica_id, 1, PROMPT, held=0, until_ns=LATER)
    assert intended.recall(PROMPT, EPOCHS) == {A: 12, B: 40}


def test_each_of_64_replicas_can_be_remembered_to_hold_a_prompt_of_100_000_tokens() -> None:
    listed = members(*(ReplicaId(f"{n}") for n in range(64)), blocks=20_000)
    intended = IntendedBlocks(lambda: listed)
    long = block_hashes(range(100_000), block_size=16, root=scope_hash(["m"]))
    last = listed[-1].record.replica_id
    intended.expect(last, 1, long, held=0, until_ns=LATER)
    assert intended.recall(long, {last: 1}) == {last: 6250}


def test_of_strangers_nothing_is_remembered() -> None:
    intended = remembering(B)
    intended.expect(A, 1, PROMPT, held=0, until_ns=LATER)
    assert intended.recall(PROMPT, EPOCHS) == {}


def test_names_that_are_equal_are_one() -> None:
    """As bytes from a message and bytes from a prompt are."""
    intended = expecting()
    again = tuple(BlockHash(bytes(bytearray(name))) for name in PROMPT)
    assert intended.foresee({}, again, EPOCHS, 0) == {A: 40}
