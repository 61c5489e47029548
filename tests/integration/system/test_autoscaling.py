"""From one replica to two and back, under streams that nobody sees interrupted.

Three long prompts take more of the first replica than they should. Once the
second one is there they end, and the streams that run on both fit on one: the
newer replica goes, and what it ran goes on at the other. The streams are longer
than anybody waits for; the same ones undisturbed say what each should have told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Event

import openai
import pytest

from orchestrator.live import operator_client
from protos.messages import ReplicaId
from tests.integration.system.conftest import System, running_system
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

BLOCKS = 1200  # of 16 tokens
LOAD = "abc"
LOAD_TOKENS = 5000  # letters: three prompts of so many take more than a replica should hold
STREAMS = 3
TOKENS = 6000  # of each: all of them fit on one replica, but take long
NAME = "long"
TOKENS_AFTER = 200  # that each says once the newer one is gone


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(replicas=1, max_replicas=2, scale_in_after_s=1, blocks=BLOCKS) as running:
        yield running


@dataclass
class Listener:
    """Hears a sampled stream, the same every time."""

    client: openai.OpenAI
    number: int
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def listen(self, enough: Callable[[], bool]) -> str:
        """What it said until it was enough. Raises APIError when it is cut."""
        with self.client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": f"stream {self.number}"}],
            max_tokens=TOKENS,
            seed=self.number,
            temperature=0.8,
            stream=True,
            extra_body={"ignore_eos": True},
            extra_headers={"X-Request-Id": f"{NAME}-{self.number}"},
        ) as stream:
            for chunk in stream:
                self.parts.append(chunk.choices[0].delta.content or "")
                if enough():
                    break
        return self.text


def fill(client: openai.OpenAI, letter: str, enough: Event) -> None:
    """A long prompt and its answer, again and again until it is enough."""
    while not enough.is_set():
        with client.completions.create(
            model="tiny",
            prompt=letter * LOAD_TOKENS,
            max_tokens=1000,
            stream=True,
            extra_body={"ignore_eos": True},
        ) as stream:
            for _ in stream:
                if enough.is_set():
                    return


def runs_streams(system: System, replica_id: ReplicaId) -> bool:
    """Whether one of the streams is there; the load may be anywhere."""
    try:
        fleet = operator_client.fleet(system.control, sequences=True)
    except ConnectionError:  # no answer in time, while a replica starts
        return False
    return any(
        sequence.request_id.startswith(f"{NAME}-") and not sequence.is_waiting
        for state in fleet.replicas
        if state.record.replica_id == replica_id
        for sequence in state.sequences
    )


def is_known(system: System, replica_id: ReplicaId) -> bool:
    """Whether the gateway could send requests there."""
    return f'replica="{replica_id}"' in system.metrics()


def imported(system: System, replica_id: ReplicaId) -> int:
    """How many sequences came to it with their blocks."""
    (state,) = (s for s in system.replicas() if s.record.replica_id == replica_id)
    return state.snapshot.counters.sequences_imported


def test_replicas_come_and_go_with_the_load_and_no_stream_is_cut(system: System) -> None:
    client, filled, enough = system.openai(), Event(), Event()
    listeners = [Listener(client, number) for number in range(STREAMS)]
    with ThreadPoolExecutor(STREAMS + len(LOAD)) as pool:
        (first,) = system.members()
        load = [pool.submit(fill, client, letter, filled) for letter in LOAD]
        try:
            wait_for(lambda: len(system.members()) == 2, within_s=120, what="a second replica")
            (newer,) = system.members() - {first}
            wait_for(lambda: is_known(system, newer), within_s=60, what="a gateway that knows it")
            streams = [pool.submit(listener.listen, enough.is_set) for listener in listeners]
            wait_for(lambda: runs_streams(system, newer), within_s=60, what="a stream there")
            filled.set()
            wait_for(
                lambda: system.members() == {first}, within_s=120, what="the newer one has left"
            )
            # What the replica that stays says of itself may be a report old.
            wait_for(
                lambda: imported(system, first) > 0, within_s=60, what="one that came with blocks"
            )
            so_far = [len(listener.parts) for listener in listeners]
            wait_for(
                lambda: all(
                    len(listener.parts) >= before + TOKENS_AFTER
                    for listener, before in zip(listeners, so_far, strict=True)
                ),
                within_s=120,
                what="streams that go on",
            )
        finally:
            filled.set()
            enough.set()
        texts = [stream.result(timeout=60) for stream in streams]
        for filling in load:
            filling.result(timeout=60)
        wholes = [Listener(client, listener.number) for listener in listeners]
        for text, whole in zip(texts, wholes, strict=True):
            is_enough = partial(is_as_long, whole, text)
            assert pool.submit(whole.listen, is_enough).result(timeout=300).startswith(text)


def is_as_long(listener: Listener, text: str) -> bool:
    return len(listener.text) >= len(text)
