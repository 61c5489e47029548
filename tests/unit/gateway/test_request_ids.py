from __future__ import annotations

import pytest

from orchestrator.gateway.ask import REQUEST_ID_CHARACTERS_MAX
from orchestrator.gateway.request_ids import is_name, new_request_id


@pytest.mark.parametrize("word", ["mine", "a/b:c.d_e-1", "r" * REQUEST_ID_CHARACTERS_MAX])
def test_letters_digits_and_a_few_signs_are_a_name(word: str) -> None:
    assert is_name(word)
    assert is_name(new_request_id())


@pytest.mark.parametrize(
    "word", ["", "a b", "a\n", "\x1b[2J", "\x9b2J", "ö", "r" * (REQUEST_ID_CHARACTERS_MAX + 1)]
)
def test_what_a_terminal_would_obey_or_not_show_is_no_name(word: str) -> None:
    assert not is_name(word)
