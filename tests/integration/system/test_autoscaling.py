"""From one replica to two and back, under streams that nobody sees interrupted.

Three long prompts take more of the first replica than they should. Once the
second one is there they end, and the streams that run on both fit on one: the
newer replica goes, and what it ran goes on at the other. The same streams
undisturbed say afterwards what each should have told.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import openai
import pytest

from tests.integration.system.conftest import System, running_system
from tests.integration.system.test_failures import Answer
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

BLOCKS = 1200  # of 16 tokens
LOAD = "abc"
LOAD_TOKENS = 5000  # letters: three prompts of so many take more than a replica should hold
STREAMS = 4
TOKENS = 3500  # so that all of them end on one replica without need of a second


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(replicas=1, max_replicas=2, scale_in_after_s=1, blocks=BLOCKS) as running:
        yield running


def stream_long(client: openai.OpenAI, number: int) -> Answer:
    """A sampled stream, the same every time. Raises APIError when it is cut."""
    texts: list[str] = []
    finish: str | None = None
    stream = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": f"stream {number}"}],
        max_tokens=TOKENS,
        seed=number,
        temperature=0.8,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")
        finish = chunk.choices[0].finish_reason
    return Answer("".join(texts), finish)


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


def test_replicas_come_and_go_with_the_load_and_no_stream_is_cut(system: System) -> None:
    client, enough = system.openai(), Event()
    with ThreadPoolExecutor(STREAMS + len(LOAD)) as pool:
        (first,) = system.members()
        load = [pool.submit(fill, client, letter, enough) for letter in LOAD]
        try:
            wait_for(lambda: len(system.members()) == 2, within_s=120, what="a second replica")
            streams = [pool.submit(stream_long, client, number) for number in range(STREAMS)]
            wait_for(
                lambda: sum(s.snapshot.sequences_running > 0 for s in system.replicas()) == 2,
                within_s=60,
                what="streams on both replicas",
            )
        finally:
            enough.set()
        wait_for(lambda: system.members() == {first}, within_s=120, what="the newer one has left")
        assert not all(stream.done() for stream in streams), "no stream ran across its leaving"
        (stayed,) = (state for state in system.replicas() if state.record.replica_id == first)
        assert stayed.snapshot.counters.sequences_imported > 0, "nothing came with its blocks"
        answers = [stream.result(timeout=300) for stream in streams]
        for filling in load:
            filling.result(timeout=60)
        undisturbed = list(pool.map(partial(stream_long, client), range(STREAMS)))
    assert answers == undisturbed
    assert all(answer.finish == "length" for answer in answers)
