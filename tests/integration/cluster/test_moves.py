"""Streams go on while their sequences move: the same text, to the last character."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import pytest

from orchestrator.live import operator_client
from protos import control_pb2 as pb
from protos.messages import ReplicaId, SequenceId
from protos.moves import MoveOutcome
from tests.integration.cluster.clients import Reader, assert_same, body
from tests.integration.cluster.watched import Watched
from tests.waiting import wait_for

OTHER = {"a": "b", "b": "a"}
TOKENS = 1500  # long enough to be moved in the middle
ENDLESS = 4000  # for who leaves before they have come
PROMPT = "All of this is known to everybody. " * 12  # some blocks that are shared


@contextmanager
def streams(cluster: Watched, numbers: range, **more: Any) -> Iterator[dict[str, Future[str]]]:
    """Streams that run meanwhile, by the names of their requests."""
    url = cluster.gateways[0].address
    with ThreadPoolExecutor(len(numbers)) as pool:
        yield {
            (name := f"moved-{number}"): pool.submit(
                Reader(number, body(number, tokens=TOKENS, prompt=PROMPT, **more)).read, url, name
            )
            for number in numbers
        }


def undisturbed(cluster: Watched, numbers: range, **more: Any) -> dict[str, str]:
    with streams(cluster, numbers, **more) as running:
        said = {name: text.result() for name, text in running.items()}
    cluster.wait_until_quiet()  # so that no report shows these any more
    return said


Found: TypeAlias = tuple[str, SequenceId]


def find(
    cluster: Watched, name: str, *, unless: Callable[[], bool] = lambda: False
) -> Found | None:
    """The request's sequence, and where it is; None where it has ended meanwhile."""

    def found() -> Found | bool:
        where = cluster.whereabouts(name)
        return unless() if where is None else (where[0], where[1].sequence_id)

    where = wait_for(found, within_s=60, what=f"a report of {name}")
    return where if isinstance(where, tuple) else None


def move(cluster: Watched, found: Found | None) -> MoveOutcome | None:
    """Move it to the replica where it is not; None where it cannot move (yet, or any more)."""
    if found is None:
        return None
    source, sequence_id = found
    try:
        report, _ = operator_client.move(cluster.control, sequence_id, ReplicaId(OTHER[source]))
    except (operator_client.CallRefused, LookupError):
        return None
    return report.outcome


def move_for_certain(cluster: Watched, name: str) -> None:
    """A slow machine may hold a move up for too long, or be asked before there is anything."""
    wait_for(
        lambda: move(cluster, find(cluster, name)) is MoveOutcome.MOVED,
        within_s=60,
        what=f"a move of {name}",
    )


def test_streams_that_move_say_what_they_would_have_said(cluster: Watched) -> None:
    numbers = range(4)
    expected = undisturbed(cluster, numbers)
    with streams(cluster, numbers) as running:
        outcomes = [
            move(cluster, find(cluster, name, unless=text.done))
            for _ in range(2)  # there and back
            for name, text in running.items()
        ]
        said = {name: text.result() for name, text in running.items()}
    assert said == expected
    assert MoveOutcome.MOVED in outcomes, "a slow machine moves few of them before they end"
    cluster.wait_until_quiet()


def test_log_probabilities_and_several_choices_move_too(cluster: Watched) -> None:
    reader = Reader(77, body(77, tokens=TOKENS, n=2, logprobs=2))
    whole = Reader(77, body(77, tokens=TOKENS, n=2, logprobs=2))
    url = cluster.gateways[0].address
    whole.read(url)
    cluster.wait_until_quiet()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(reader.read, url, "both")
        move_for_certain(cluster, "both")
        running.result()
    assert_same(reader, whole)
    cluster.wait_until_quiet()


def test_a_client_that_leaves_while_its_sequence_moves_leaves_nothing_behind(
    cluster: Watched,
) -> None:
    url = cluster.gateways[0].address
    for number in range(3):
        name = f"leaver-{number}"
        events = Reader(number, body(number, tokens=ENDLESS, prompt=PROMPT)).events(url, name)
        next(events)
        found = find(cluster, name)
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(move, cluster, found)
            events.close()
            moving.result()  # None where it had left before the order came
    cluster.wait_until_quiet()


def test_a_drained_replica_empties_itself_and_nobody_notices(cluster: Watched) -> None:
    numbers = range(6)
    expected = undisturbed(cluster, numbers)
    with streams(cluster, numbers) as running:
        victim = wait_for(
            lambda: next((r for r, s in cluster.sequences().items() if len(s) >= 2), None),
            within_s=60,
            what="a replica with sequences",
        )
        progress = drained(cluster, ReplicaId(victim))
        said = {name: text.result() for name, text in running.items()}
    assert said == expected
    assert progress[-1].state == "drained"
    decided = operator_client.decisions(cluster.control, replica_id=victim)
    told = [f"{d.age_ms} {d.kind} {d.reason} {d.sequence_id} {d.detail}" for d in decided]
    assert max(step.sequences_moved for step in progress) >= 1, "\n".join(told)
    assert operator_client.uncordon(cluster.control, ReplicaId(victim)) == "active"
    wait_for(
        lambda: all(not s.snapshot.draining for s in cluster.states()),
        within_s=120,
        what="it takes work again",
    )
    cluster.wait_until_quiet()


def drained(cluster: Watched, victim: ReplicaId) -> list[pb.DrainProgress]:
    """What is told of it until it is empty; asked again where a slow leader loses its lead."""
    told: list[pb.DrainProgress] = []

    def is_empty() -> bool:
        with suppress(operator_client.NotLeader):
            told.extend(operator_client.drain(cluster.control, victim))
        return bool(told) and told[-1].state == "drained"

    wait_for(is_empty, within_s=120, what=f"{victim} is empty")
    return told


@pytest.mark.parametrize("name", ["nobody", "a/b/c"])
def test_what_is_not_there_cannot_move(cluster: Watched, name: str) -> None:
    with pytest.raises(LookupError):
        operator_client.move(cluster.control, name, ReplicaId("a"))
