"""A replica dies under load: what its users see, and what the cluster does."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import openai
import pytest

from tests.integration.system.conftest import System, replica_processes
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

LEASE_S = 3.0
STREAMS = 6


def stream_long(client: openai.OpenAI, number: int) -> tuple[int, str | None]:
    """(pieces received, the error that ended the stream)."""
    pieces = 0
    try:
        stream = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": f"stream {number}"}],
            max_tokens=2000,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        for _ in stream:
            pieces += 1
    except openai.APIError as error:
        return pieces, str(error)
    return pieces, None


def short_request(client: openai.OpenAI) -> str:
    answer = client.chat.completions.with_raw_response.create(
        model="tiny", messages=[{"role": "user", "content": "still there?"}], max_tokens=4
    )
    return str(answer.headers["x-blockyard-replica"])


def test_a_killed_replica_is_replaced_and_nobody_else_notices(system: System) -> None:
    client = system.openai()
    before = {state.record.replica_id for state in system.replicas()}
    with ThreadPoolExecutor(STREAMS) as pool:
        streams: list[Future[tuple[int, str | None]]] = [
            pool.submit(stream_long, client, number) for number in range(STREAMS)
        ]
        wait_for(
            lambda: all(s.snapshot.sequences_running for s in system.replicas()),
            within_s=30,
            what="streams on both replicas",
        )
        victim = replica_processes()[0]
        victim.kill()
        killed_at = time.monotonic()

        served_by = {short_request(client) for _ in range(4)}
        assert len(served_by) == 1, "new requests go to the replica that is left"
        survivor = served_by.pop()

        wait_for(
            lambda: system.members() & before == {survivor},
            within_s=LEASE_S + 1,
            what="the registry forgets the dead replica within its lease",
        )
        outcomes = [stream.result(timeout=120) for stream in streams]

    errors = [error for _, error in outcomes if error is not None]
    assert errors, "streams on the dead replica end with an error"
    assert len(errors) < STREAMS, "streams on the other replica do not"
    assert all("replica" in error for error in errors)
    wait_for(lambda: len(system.replicas()) == 2, within_s=60, what="Serve starts a replacement")
    assert time.monotonic() - killed_at < 120
