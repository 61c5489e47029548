from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from replicas.engine.config import EngineConfig
from tests.unit.engine.driver import card


def test_the_defaults_are_accepted() -> None:
    assert EngineConfig(card(), blocks_total=1).step_tokens_max == 256


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (lambda: EngineConfig(card(), 0), "blocks_total must be at least 1, not 0."),
        (lambda: EngineConfig(card(block_size=0), 1), "card.block_size must be at least 1, not 0."),
        (
            lambda: EngineConfig(card(context=0), 1),
            "card.context_tokens_max must be at least 1, not 0.",
        ),
        (lambda: EngineConfig(card(vocab=0), 1), "card.vocab_size must be at least 1, not 0."),
        (
            lambda: EngineConfig(card(vocab=2**32 + 1), 1),
            "card.vocab_size must be at most 2**32, not 4294967297.",
        ),
        (
            lambda: EngineConfig(card(), 1, step_tokens_max=0),
            "step_tokens_max must be at least 1, not 0.",
        ),
        (
            lambda: EngineConfig(card(), 1, sequences_max=0),
            "sequences_max must be at least 1, not 0.",
        ),
        (lambda: EngineConfig(card(), 1, waiting_max=0), "waiting_max must be at least 1, not 0."),
        (
            lambda: replace(EngineConfig(card(), 1), watermark_blocks=-2),
            "watermark_blocks must be at least 0, not -2.",
        ),
        (
            lambda: EngineConfig(card(), 1, guesses_max=-1),
            "guesses_max must be at least 0, not -1.",
        ),
        (
            lambda: EngineConfig(card(vocab=1_114_113), 1, guesses_max=1),
            "guesses_max must be 0 for 1114113 tokens.",
        ),
    ],
)
def test_a_nonsensical_bound_is_refused_with_a_sentence(
    config: Callable[[], EngineConfig], sentence: str
) -> None:
    with pytest.raises(ValueError) as error:
        config()
    assert str(error.value) == sentence
