"""Events out of bytes, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.load import events
from orchestrator.load.events import Event, EventReader, NotEvents

STREAM = (
    b": a comment\n\n"
    b'id: one\ndata: {"text": "\xc3\xa9"}\n\n'
    b"data:first\ndata: second\n\n"
    b"event: error\ndata: {}\n\n"
    b"id: two\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = [
    Event("one", b'{"text": "\xc3\xa9"}'),
    Event("one", b"first\nsecond"),
    Event("one", b"{}"),
    Event("two", b"[DONE]"),
]


def read(stream: bytes, cuts: list[int]) -> list[Event]:
    reader = EventReader()
    found: list[Event] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        found += reader.feed(stream[start:end])
    return found


@given(st.lists(st.integers(0, 1000), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_however_they_are_cut(cuts: list[int], line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end) + b": the end\n"  # a CR alone waits for what follows
    assert read(stream, cuts) == EVENTS


def test_half_an_event_is_none() -> None:
    assert read(b"data: one\n\ndata: two\n", []) == [Event("", b"one")]


def test_an_event_without_an_id_has_the_latest_one() -> None:
    assert list(EventReader("before").feed(b"data: one\n\n")) == [Event("before", b"one")]


def test_an_event_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVENT_BYTES_MAX", 10)
    with pytest.raises(NotEvents):
        list(EventReader().feed(b"data: more than ten bytes"))
