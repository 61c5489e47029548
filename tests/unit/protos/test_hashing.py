"""A block's name says its prefix and its scope, in every process alike."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.hashing import (
    DIGEST_BYTES,
    block_hash,
    block_hashes,
    reusable_blocks,
    scope_hash,
    token_bytes,
)
from protos.messages import ModelCard

CARD = ModelCard(
    name="m",
    revision="r",
    dtype="float32",
    block_size=4,
    context_tokens_max=64,
    vocab_size=100,
)
tokens_lists = st.lists(st.integers(0, 2**32 - 1), max_size=40)


@given(tokens_lists, st.integers(1, 8))
def test_only_full_blocks_have_a_name(tokens: list[int], block_size: int) -> None:
    chain = block_hashes(tokens, block_size=block_size, root=CARD.scope())
    assert len(chain) == len(tokens) // block_size
    assert all(len(name) == DIGEST_BYTES for name in chain)


@given(tokens_lists, tokens_lists)
def test_two_prompts_share_the_names_of_exactly_their_common_full_blocks(
    one: list[int], other: list[int]
) -> None:
    common = 0
    while common < min(len(one), len(other)) and one[common] == other[common]:
        common += 1
    first = block_hashes(one, block_size=4, root=CARD.scope())
    second = block_hashes(other, block_size=4, root=CARD.scope())
    shared = set(first) & set(second)
    assert shared == set(first[: common // 4])


@given(tokens_lists)
def test_a_chain_can_be_continued_from_its_last_name(tokens: list[int]) -> None:
    chain = block_hashes(tokens, block_size=4, root=CARD.scope())
    longer = block_hashes([*tokens[: len(chain) * 4], 1, 2, 3, 4], block_size=4, root=CARD.scope())
    assert longer[:-1] == chain
    assert longer[-1] == block_hash(chain[-1] if chain else CARD.scope(), [1, 2, 3, 4])


@given(tokens_lists, st.integers(1, 8))
def test_a_name_is_the_digest_of_its_parent_and_its_tokens_in_little_endian(
    tokens: list[int], block_size: int
) -> None:
    parent = CARD.scope()
    for index, name in enumerate(block_hashes(tokens, block_size=block_size, root=parent)):
        block = tokens[index * block_size : (index + 1) * block_size]
        payload = parent + b"".join(struct.pack("<I", token) for token in block)
        assert name == blake2b(payload, digest_size=DIGEST_BYTES).digest()
        assert name == block_hash(parent, block)
        parent = name


def test_a_machine_of_the_other_byte_order_swaps_before_it_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert token_bytes([1, 2**32 - 2]) == b"\1\0\0\0\xfe\xff\xff\xff"
    monkeypatch.setattr(sys, "byteorder", "big")
    assert token_bytes([1, 2**32 - 2]) == b"\0\0\0\1\xff\xff\xff\xfe"


@pytest.mark.parametrize("token", [-1, 2**32])
def test_what_is_no_token_has_no_encoding(token: int) -> None:
    with pytest.raises(OverflowError):
        token_bytes([token])


def test_what_changes_the_kv_changes_the_scope() -> None:
    others = (
        replace(CARD, name="n"),
        replace(CARD, revision="s"),
        replace(CARD, dtype="bfloat16"),
        replace(CARD, block_size=8),
    )
    scopes = {card.scope() for card in (CARD, *others)}
    assert len(scopes) == 5
    assert replace(CARD, context_tokens_max=32).scope() == CARD.scope()


def test_two_salts_never_share_a_name() -> None:
    prompt = list(range(16))
    plain = block_hashes(prompt, block_size=4, root=CARD.scope())
    salted = block_hashes(prompt, block_size=4, root=CARD.scope(b"tenant"))
    assert not set(plain) & set(salted)


def test_fields_do_not_run_into_each_other() -> None:
    assert scope_hash(("ab", "c")) != scope_hash(("a", "bc"))
    assert scope_hash(("a",), b"b") != scope_hash(("a", "b"))


def test_names_are_the_same_in_another_process_whatever_its_hash_seed() -> None:
    program = (
        "from protos.hashing import block_hashes, scope_hash;"
        "print(block_hashes(range(8), block_size=4, root=scope_hash(('m',), b's'))[-1].hex())"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "4711")
    }
    here = block_hashes(range(8), block_size=4, root=scope_hash(("m",), b"s"))[-1].hex()
    assert names == {here}


def test_the_last_prompt_token_is_never_reused() -> None:
    cases = {0: 0, 1: 0, 4: 0, 5: 1, 8: 1, 9: 2}
    assert {tokens: reusable_blocks(tokens, block_size=4) for tokens in cases} == cases
