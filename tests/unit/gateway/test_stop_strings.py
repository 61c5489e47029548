"""Against a definition by brute force: the first prefix that ends with a stop string."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.gateway.stop_strings import StopStrings

LETTERS = st.text("ab", min_size=1, max_size=4)


def by_definition(text: str, stops: list[str]) -> tuple[str, bool]:
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


def streamed(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stop_strings = StopStrings(stops)
    shown = ""
    for piece in pieces:
        shown += stop_strings.feed(piece)
        if stop_strings.met:
            return shown, True
    return shown + stop_strings.flush(), False


@settings(max_examples=500)
@given(st.lists(st.text("abc", max_size=5), max_size=12), st.lists(LETTERS, max_size=4))
def test_the_text_ends_before_the_first_complete_stop_string_however_it_was_cut(
    pieces: list[str], stops: list[str]
) -> None:
    """Reduced `_fallbacks` to zeros: this test fails ("aab" in "aaab")."""
    assert streamed(pieces, stops) == by_definition("".join(pieces), stops)


@settings(max_examples=300)
@given(st.text("ab", max_size=20), st.lists(LETTERS, max_size=3))
def test_nothing_shown_is_ever_taken_back(text: str, stops: list[str]) -> None:
    final, _ = by_definition(text, stops)
    stop_strings = StopStrings(stops)
    shown = ""
    for character in text:
        shown += stop_strings.feed(character)
        assert final.startswith(shown)
        if stop_strings.met:
            break


def test_text_is_held_back_only_while_it_may_begin_a_stop_string() -> None:
    stop_strings = StopStrings(["END"])
    assert stop_strings.feed("a E") == "a "
    assert stop_strings.feed("N") == ""
    assert stop_strings.feed("Ex") == "ENEx"
    assert stop_strings.feed("E") == ""
    assert stop_strings.flush() == "E"
