"""A condition begins with the first who wants it, and ends with the last."""

from __future__ import annotations

from orchestrator.chaos.holds import Holds


def test_the_first_brings_it_about_and_the_last_undoes_it() -> None:
    holds, done = Holds(), list[str]()
    holds.begin("down", lambda: done.append("down by one"))
    holds.begin("down", lambda: done.append("down by the other"))
    assert done == ["down by one"]
    holds.end("down", lambda: done.append("up by one"))
    assert holds.wants("down")
    holds.end("down", lambda: done.append("up by the other"))
    assert done == ["down by one", "up by the other"]
    assert not holds.wants("down")


def test_what_has_ended_may_begin_again() -> None:
    holds, done = Holds(), list[str]()
    for _ in range(2):
        holds.begin("down", lambda: done.append("down"))
        holds.end("down", lambda: done.append("up"))
    assert done == ["down", "up", "down", "up"]


def test_conditions_are_told_apart() -> None:
    holds, done = Holds(), list[str]()
    for what in ("one", "other"):
        holds.begin(what, lambda: done.append("begun"))
    assert done == ["begun", "begun"]
    holds.end("one", lambda: None)
    assert not holds.wants("one")
    assert holds.wants("other")
