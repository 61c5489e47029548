"""What a cluster still holds after a scenario is a leak, and costs the world its cluster."""

from __future__ import annotations

import threading
from contextlib import suppress

import httpx
import pytest

from orchestrator.live.chaos.processes import Processes
from tests.integration.chaos.world import World, peaceful, played

pytestmark = pytest.mark.chaos

EVENTS, AHEAD = 4000, 500  # of one stream, and how far the first one is before the second


def test_blocks_that_are_still_in_use_are_a_leak_and_end_the_cluster(
    world: World, cluster: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two listen to streams that no scenario asked for: when one ends, the other goes on."""
    url, is_over = f"{cluster.gateways[0].address}/v1/completions", threading.Event()
    body = {"model": "tiny", "prompt": "Go on.", "max_tokens": EVENTS, "ignore_eos": True}
    is_ahead = threading.Event()

    def listen() -> None:
        with suppress(httpx.TransportError):  # the cluster ends
            while not is_over.is_set():
                stream_again()

    def stream_again() -> None:
        with httpx.stream("POST", url, json={**body, "stream": True}, timeout=60.0) as answer:
            events = (line for line in answer.iter_lines() if line.startswith("data:"))
            for number, _ in enumerate(events):
                if number == AHEAD:
                    is_ahead.set()
                if is_over.is_set():
                    return

    listeners = [threading.Thread(target=listen) for _ in range(2)]
    monkeypatch.setattr(world, "quiet_s_max", 0.5)
    try:
        for listening in listeners:
            listening.start()
            assert is_ahead.wait(120), "one has a good start"
        run = played(world, peaceful())
    finally:
        is_over.set()
        for listening in listeners:
            listening.join()
    assert not run.verdict.is_passed
    assert any("blocks in use" in leak for leak in run.observed.leaks), run.observed.leaks
    assert not any(member.is_alive for member in cluster.members.values())
