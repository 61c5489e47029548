from __future__ import annotations

from itertools import product

import pytest

from protos.hashing import block_hashes
from protos.messages import FinishReason, SampledToken
from replicas.engine import sequence as sequence_module
from replicas.engine.plan import BlockId
from replicas.engine.sequence import LEGAL_TRANSITIONS, Sequence, SequenceState
from tests.unit.engine.driver import card, engine, request, step


def sequence(
    prompt: int = 6, *, tokens_max: int = 4, tokens_min: int = 0, choices: int = 1
) -> Sequence:
    asked = request(
        prompt=prompt, tokens_max=tokens_max, tokens_min=tokens_min, stop=(9,), choices=choices
    )
    root = card().scope()
    return Sequence(asked, root, 4, arrival=0, output_max=tokens_max, unforked=choices - 1)


@pytest.mark.parametrize(("source", "target"), list(product(SequenceState, SequenceState)))
def test_only_the_table_of_transitions_is_legal(
    source: SequenceState, target: SequenceState
) -> None:
    subject = sequence()
    subject.state = source
    if target in LEGAL_TRANSITIONS[source]:
        subject.move_to(target)
        assert subject.state is target
    else:
        with pytest.raises(AssertionError, match=f"{source.value} to {target.value}"):
            subject.move_to(target)


def test_nothing_follows_the_finish() -> None:
    assert not LEGAL_TRANSITIONS[SequenceState.FINISHED]


@pytest.mark.parametrize(
    ("start", "stop", "tokens"),
    [
        (0, 2, (0, 1)),
        (4, 6, (4, 5)),
        (4, 8, (4, 5, 40, 41)),
        (6, 8, (40, 41)),
        (7, 9, (41, 42)),
        (6, 6, ()),
    ],
)
def test_tokens_run_from_the_prompt_into_the_output(
    start: int, stop: int, tokens: tuple[int, ...]
) -> None:
    subject = sequence()
    subject.output.extend((40, 41, 42))
    assert subject.tokens(start, stop) == tokens


def test_blocks_are_named_as_the_whole_cluster_names_them() -> None:
    subject = sequence()
    subject.output.extend((40, 41))
    expected = block_hashes((*range(6), 40, 41), block_size=4, root=card().scope())
    assert (subject.block_name(0), subject.block_name(1)) == expected
    assert subject.parent_name(0) == card().scope()
    assert subject.parent_name(1) == expected[0]


def test_a_prompt_is_named_in_one_pass_when_it_is_submitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = engine()
    subject.submit(request(prompt=14))
    monkeypatch.delattr(sequence_module, "block_hash")
    step(subject)
    expected = block_hashes(range(14), block_size=4, root=card().scope())
    assert subject.inventory() == expected


def test_a_block_that_is_not_full_has_no_name() -> None:
    with pytest.raises(AssertionError, match="not full"):
        sequence().block_name(1)


@pytest.mark.parametrize(
    ("tokens_min", "sampled", "finishes"),
    [
        (0, (9,), (FinishReason.STOP,)),
        (2, (9, 9, 9), (None, None, FinishReason.STOP)),
        (0, (1, 1, 1, 1), (None, None, None, FinishReason.LENGTH)),
        (4, (9, 9, 9, 9), (None, None, None, FinishReason.LENGTH)),
        (0, (1, 1, 1, 9), (None, None, None, FinishReason.STOP)),
    ],
)
def test_a_sequence_ends_at_a_stop_token_or_at_its_length(
    tokens_min: int, sampled: tuple[int, ...], finishes: tuple[FinishReason | None, ...]
) -> None:
    subject = sequence(tokens_min=tokens_min)
    assert tuple(subject.accept(SampledToken(token)) for token in sampled) == finishes
    assert subject.output == list(sampled)


def test_only_the_row_that_feeds_the_last_token_samples() -> None:
    subject = sequence(choices=3)
    assert subject.samples(5) == ()
    assert [sample.seed for sample in subject.samples(6)] == [0, 1, 2]


def test_a_sibling_starts_where_the_prompt_ends_with_a_table_of_its_own() -> None:
    subject = sequence(choices=3)
    subject.state = SequenceState.RUNNING
    subject.block_table.extend((BlockId(5), BlockId(2)))
    subject.computed = 6
    siblings = [subject.fork(), subject.fork()]
    assert [sibling.choice for sibling in siblings] == [1, 2]
    assert not subject.unforked
    for sibling in siblings:
        assert sibling.state is SequenceState.RUNNING
        assert sibling.computed == 6 and not sibling.is_prefilling
        assert sibling.block_table == subject.block_table
        assert sibling.block_table is not subject.block_table
        assert sibling.output is not subject.output
    with pytest.raises(AssertionError, match="early fork"):
        subject.fork()


def test_a_preempted_sequence_remembers_how_far_it_was_and_nothing_else() -> None:
    subject = sequence()
    subject.admit()
    subject.computed, subject.named = 6, 1
    subject.preempt()
    assert (subject.computed, subject.named, subject.recomputed_end) == (0, 0, 6)


def test_what_was_computed_once_is_recomputed_however_often_it_is_preempted() -> None:
    subject = sequence()
    for computed in (5, 2):
        subject.admit()
        subject.computed = computed
        subject.preempt()
    assert subject.recomputed_end == 5


def test_a_hit_counts_at_the_first_admission_only() -> None:
    subject = sequence(prompt=9)
    subject.named = 1
    subject.admit()
    assert (subject.hit_tokens, subject.computed, subject.prefill_end) == (4, 4, 9)
    subject.preempt()
    subject.named = 2
    subject.admit()
    assert (subject.hit_tokens, subject.computed) == (4, 8)
