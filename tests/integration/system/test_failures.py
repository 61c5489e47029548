"""A replica dies under load: what its users see, and what the cluster does."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import httpx
import openai
import pytest

from tests.integration.system.conftest import System, replica_processes
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

LEASE_S = 3.0
STREAMS = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client got."""

    text: str
    finish: str | None


def stream_long(client: openai.OpenAI, number: int) -> Answer:
    """A sampled stream, the same every time. Raises APIError when it is cut."""
    texts: list[str] = []
    finish: str | None = None
    stream = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": f"stream {number}"}],
        max_tokens=500,
        seed=number,
        temperature=0.8,
        frequency_penalty=0.1,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")
        finish = chunk.choices[0].finish_reason
    return Answer("".join(texts), finish)


def streams_resumed(system: System) -> float:
    exposition = httpx.get(f"{system.url}/metrics").text
    counts = re.findall(r"^blockyard_streams_resumed_total\{.*\} (\S+)$", exposition, re.MULTILINE)
    return sum(map(float, counts))


def short_request(client: openai.OpenAI) -> str:
    answer = client.chat.completions.with_raw_response.create(
        model="tiny", messages=[{"role": "user", "content": "still there?"}], max_tokens=4
    )
    return str(answer.headers["x-blockyard-replica"])


def test_a_killed_replica_is_replaced_and_nobody_notices(system: System) -> None:
    client = system.openai()
    before = {state.record.replica_id for state in system.replicas()}
    with ThreadPoolExecutor(STREAMS) as pool:
        undisturbed = list(pool.map(partial(stream_long, client), range(STREAMS)))
        wait_for(
            lambda: not any(s.snapshot.sequences_running for s in system.replicas()),
            within_s=30,
            what="reports that the undisturbed streams have ended",
        )
        streams = [pool.submit(stream_long, client, number) for number in range(STREAMS)]
        wait_for(
            lambda: all(s.snapshot.sequences_running for s in system.replicas()),
            within_s=30,
            what="streams on both replicas",
        )
        victim = replica_processes()[0]
        victim.kill()

        served_by = {short_request(client) for _ in range(4)}
        assert len(served_by) == 1, "new requests go to the replica that is left"
        survivor = served_by.pop()

        wait_for(
            lambda: system.members() & before == {survivor},
            within_s=LEASE_S + 10,  # a slow machine is no failure
            what="the registry forgets the dead replica within its lease",
        )
        answers = [stream.result(timeout=120) for stream in streams]

    assert answers == undisturbed
    assert all(answer.finish == "length" for answer in answers)
    assert streams_resumed(system) >= 1, "the streams of the dead replica went on"
    wait_for(
        lambda: len(system.members() - before) == 1, within_s=120, what="a replacement has joined"
    )
