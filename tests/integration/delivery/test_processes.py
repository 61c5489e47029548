"""Processes that fetch the same model: killed, two at once, one after the other's death."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.delivery.server import Fault, ModelServer
from tests.waiting import wait_for

WEIGHTS = "model.safetensors"
WITHIN_S = 60.0
# The chunks of the test and not of the shipped configuration: several in a small file.
FETCH = """
import logging, sys
from pathlib import Path
from replicas.delivery.config import Delivery, Patience
from replicas.delivery.fetch import fetch
from replicas.delivery.location import locate
delivery = Delivery(Path(sys.argv[2]), chunk_bytes=1 << 16, patience=Patience(9, 1, 50))
print(fetch(locate(sys.argv[1]), delivery))
"""


@contextmanager
def fetching(server: ModelServer, cache: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", FETCH, server.url, str(cache)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def held_in_the_middle(server: ModelServer) -> Fault:
    """The first request for a chunk that begins at or after 200,000 hangs until it is released."""
    fault = Fault(WEIGHTS, hold_at=200_000, times=4)
    server.faults = [fault]
    return fault


def test_a_killed_download_goes_on_where_it_stopped(server: ModelServer, tmp_path: Path) -> None:
    fault = held_in_the_middle(server)
    with fetching(server, tmp_path) as process:
        assert fault.struck.wait(WITHIN_S)
        process.send_signal(signal.SIGKILL)
        assert process.wait(WITHIN_S) == -signal.SIGKILL
    (came,) = tmp_path.glob(f"*/*.partial/{WEIGHTS}")
    bytes_here = came.stat().st_size
    assert bytes_here == 3 << 16
    server.faults.clear()
    server.asked.clear()
    with fetching(server, tmp_path) as process:
        folder = Path(process.communicate(timeout=WITHIN_S)[0].strip())
    assert server.gets(WEIGHTS)[0].start == bytes_here
    assert (folder / WEIGHTS).read_bytes() == server.files[WEIGHTS]


def test_of_two_processes_one_fetches(server: ModelServer, tmp_path: Path) -> None:
    """Fails, by bytes that are asked for twice, if the lock lets both in."""
    fault = held_in_the_middle(server)
    with fetching(server, tmp_path) as first, fetching(server, tmp_path) as second:
        assert fault.struck.wait(WITHIN_S)
        wait_for(lambda: looks(server) >= 3, within_s=WITHIN_S, what="both know what is there")
        assert published(tmp_path) == []
        fault.release.set()
        folders = {process.communicate(timeout=WITHIN_S)[0].strip() for process in (first, second)}
    assert [first.returncode, second.returncode] == [0, 0]
    assert len(folders) == 1
    assert Path(folders.pop(), WEIGHTS).read_bytes() == server.files[WEIGHTS]
    starts = [each.start for each in server.gets(WEIGHTS)]
    assert len(starts) == len(set(starts))


def test_who_waits_goes_on_when_the_other_one_dies(server: ModelServer, tmp_path: Path) -> None:
    fault = held_in_the_middle(server)
    with fetching(server, tmp_path) as first:
        assert fault.struck.wait(WITHIN_S)
        with fetching(server, tmp_path) as second:
            wait_for(lambda: looks(server) >= 3, within_s=WITHIN_S, what="the second one waits")
            assert second.poll() is None
            server.faults.clear()
            first.kill()
            folder = Path(second.communicate(timeout=WITHIN_S)[0].strip())
    assert (folder / WEIGHTS).read_bytes() == server.files[WEIGHTS]
    starts = [each.start for each in server.gets(WEIGHTS)]
    assert starts == sorted(starts), "nothing that came is asked for again"


def test_ctrl_c_ends_it_and_nothing_is_published(server: ModelServer, tmp_path: Path) -> None:
    fault = held_in_the_middle(server)
    with fetching(server, tmp_path) as process:
        assert fault.struck.wait(WITHIN_S)
        process.send_signal(signal.SIGINT)
        fault.release.set()
        assert process.wait(WITHIN_S) != 0
    assert published(tmp_path) == []


def published(cache: Path) -> list[Path]:
    return [p for p in cache.glob("*/*") if p.is_dir() and p.suffix != ".partial"]


def looks(server: ModelServer) -> int:
    """At the weights: one of each process that knows what is there, one of who fetches them."""
    return sum((each.method, each.name) == ("HEAD", WEIGHTS) for each in list(server.asked))
