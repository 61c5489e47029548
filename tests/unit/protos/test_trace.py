"""A trace's context survives being told; what is no context starts a new trace."""

from __future__ import annotations

import pytest

from protos.trace import TraceContext, new_trace, parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_context_comes_back_as_it_was_told(is_sampled: bool) -> None:
    context = TraceContext(TRACE, SPAN, is_sampled)
    assert parse_traceparent(context.traceparent) == context


@pytest.mark.parametrize(
    "word",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_context_is_none(word: str) -> None:
    assert parse_traceparent(word) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-03-more") == TraceContext(TRACE, SPAN)


def test_children_differ_by_what_they_stand_for_and_by_their_parent() -> None:
    one, other = TraceContext(TRACE, SPAN), new_trace(b"other")
    children = [
        one.child("attempt", 0),
        one.child("attempt", 1),
        one.child("hash"),
        one.child("attempt", 0).child("hash"),
        other.child("hash"),
    ]
    assert len({child.span_id for child in children}) == len(children)
    assert one.child("attempt", 0) == one.child("attempt", 0)
    assert one.child("hash").trace_id == TRACE
    assert not TraceContext(TRACE, SPAN, is_sampled=False).child("hash").is_sampled


def test_a_new_trace_can_be_told() -> None:
    made = new_trace(b"mine")
    assert parse_traceparent(made.traceparent) == made
    assert made.trace_id != new_trace(b"yours").trace_id
