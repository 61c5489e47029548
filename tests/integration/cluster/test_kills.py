"""Replicas are killed, in the middle of moves and of streams; no client loses a character.

The moment of a kill is a seeded number of milliseconds after the orders of two
moves were given: before, in and after the copying, the freezing and the handing
over, as it happens. Whatever it hits, every stream says what it says undisturbed
and every block comes back.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from orchestrator.live import operator_client
from protos.messages import ReplicaId, SequenceId
from protos.moves import MoveOutcome
from tests.integration.cluster.clients import Reader, various
from tests.integration.cluster.watched import Watched
from tests.waiting import wait_for

REPLICAS = ("a", "b", "c")
STREAMS = 8
TOKENS = 600
PROMPT = "Everybody begins with these words. " * 20
ENDS_AT_A_STOP = 4  # a plain one, near its end
DELAY_S_MAX = 0.15  # a move is over by then


@pytest.fixture(scope="module")
def trio() -> Iterator[Watched]:
    """Three replicas, one gateway, one control plane."""
    with Watched(blocks=1200) as processes:
        processes.start(replicas=REPLICAS)
        yield processes


@pytest.fixture(scope="module")
def stop(trio: Watched) -> str:
    """What one of the streams says near its end."""
    whole = Reader(ENDS_AT_A_STOP, ask(ENDS_AT_A_STOP)).read(trio.gateways[0].address)
    return whole[-60:-50]


@pytest.fixture(scope="module")
def undisturbed(trio: Watched, stop: str) -> dict[str, str]:
    """What the streams say when nobody dies."""
    with streams(trio, stop) as running:
        said = {name: text.result() for name, text in running.items()}
    trio.wait_until_quiet()
    assert re.fullmatch("[a-z ]+", said["killed-3"]), "structured output"
    assert len(said[f"killed-{ENDS_AT_A_STOP}"]) < len(said["killed-0"]), "it ends at its stop"
    return said


def ask(number: int, **more: Any) -> dict[str, Any]:
    return various(number, tokens=TOKENS, prompt=PROMPT, **more)


@contextmanager
def streams(trio: Watched, stop: str) -> Iterator[dict[str, Future[str]]]:
    """Streams that run meanwhile, by the names of their requests."""
    url = trio.gateways[0].address
    asks = {number: ask(number) for number in range(STREAMS)}
    asks[ENDS_AT_A_STOP] = ask(ENDS_AT_A_STOP, stop=[stop])
    with ThreadPoolExecutor(STREAMS) as pool:
        yield {
            (name := f"killed-{number}"): pool.submit(Reader(number, asked).read, url, name)
            for number, asked in asks.items()
        }


def fullest(trio: Watched, count: int) -> tuple[str, list[SequenceId]]:
    """A replica with so many sequences that could move now, and these."""

    def find() -> tuple[str, list[SequenceId]] | None:
        for name, sequences in trio.sequences().items():
            able = [s.sequence_id for s in sequences if s.is_movable and not s.is_waiting]
            if len(able) >= count:
                return name, able[:count]
        return None

    return wait_for(find, within_s=60, what=f"a replica that runs {count} streams")


def order(trio: Watched, sequence_id: SequenceId, target: str) -> MoveOutcome | None:
    """How the move ended, where anybody is left to say so."""
    with suppress(LookupError, ConnectionError, operator_client.CallRefused):
        report, _ = operator_client.move(trio.control, sequence_id, ReplicaId(target))
        return report.outcome
    return None


def revive(trio: Watched, name: str) -> None:
    """Start a killed replica again; returns when the control plane takes it for active."""
    trio.revive(name)
    wait_for(
        lambda: any(
            state.record.replica_id == name and state.state == "active" for state in trio.states()
        ),
        within_s=120,
        what=f"{name} is back",
    )


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("victim", ["source", "target"])
def test_a_replica_killed_in_the_middle_of_moves_costs_no_stream_a_character(
    trio: Watched, stop: str, undisturbed: dict[str, str], victim: str, seed: int
) -> None:
    delay_s = random.Random(f"{victim} {seed}").uniform(0, DELAY_S_MAX)
    with streams(trio, stop) as texts, ThreadPoolExecutor(2) as orders:
        source, sequences = fullest(trio, 2)
        one, other = (name for name in REPLICAS if name != source)
        targets = (one, other) if victim == "source" else (one, one)
        moves = [orders.submit(order, trio, *each) for each in zip(sequences, targets, strict=True)]
        time.sleep(delay_s)
        dead = source if victim == "source" else one
        trio.replicas[dead].kill()
        said = {name: text.result() for name, text in texts.items()}
        print(f"{dead} killed after {delay_s * 1000:.0f} ms: {[move.result() for move in moves]}")
    assert said == undisturbed
    revive(trio, dead)
    trio.wait_until_quiet()


def test_eight_streams_of_a_killed_replica_are_whole(
    trio: Watched, stop: str, undisturbed: dict[str, str]
) -> None:
    victim, *others = map(ReplicaId, REPLICAS)
    operator_client.set_policy(trio.control, "enabled", "off")  # nobody moves them meanwhile
    for name in others:
        operator_client.cordon(trio.control, name)
    wait_for(lambda: draining(trio) == set(others), within_s=120, what="one replica is left")
    with streams(trio, stop) as texts:
        fullest(trio, STREAMS)
        for name in others:
            operator_client.uncordon(trio.control, name)
        wait_for(lambda: not draining(trio), within_s=120, what="the others take work again")
        here = trio.sequences()[victim]
        trio.replicas[victim].kill()
        said = {name: text.result() for name, text in texts.items()}
    operator_client.set_policy(trio.control, "enabled", "on")
    assert len(here) == STREAMS, "some had ended before"
    assert said == undisturbed
    revive(trio, victim)
    trio.wait_until_quiet()


def draining(trio: Watched) -> set[str]:
    """Who takes no work."""
    return {state.record.replica_id for state in trio.states() if state.snapshot.draining}
