"""Gateways and leaders die; clients go on with what they had."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from orchestrator.live import operator_client
from protos import control_pb2
from protos.messages import ReplicaId
from tests.integration.cluster.clients import Reader, body
from tests.integration.cluster.processes import Processes
from tests.waiting import wait_for

TOKENS = 1200


def test_a_stream_goes_on_at_another_gateway_when_its_own_is_killed(cluster: Processes) -> None:
    first, second = cluster.gateways
    whole = Reader(5, body(5, tokens=TOKENS, n=2, logprobs=1))
    whole.read(second.address)
    reader = Reader(5, body(5, tokens=TOKENS, n=2, logprobs=1))
    with pytest.raises(httpx.TransportError):
        for count in reader.events(first.address):
            if count == 300:
                first.kill()
    assert not reader.is_done
    reader.read(second.address)
    assert reader.request_id, "it has a name"
    assert reader.texts == whole.texts
    assert reader.finishes == whole.finishes
    cluster.wait_until_quiet()


def test_a_killed_leader_is_succeeded_and_no_stream_notices(cluster: Processes) -> None:
    leader, standby = cluster.control_planes
    if not leads(standby.address):
        pass
    elif leads(leader.address):
        raise AssertionError("two lead")
    else:
        leader, standby = standby, leader
    url = cluster.gateways[-1].address
    expected = Reader(9, body(9, tokens=TOKENS)).read(url)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Reader(9, body(9, tokens=TOKENS)).read, url)
        leader.kill()
        began = time.monotonic()
        wait_for(lambda: leads(standby.address), within_s=30, what="the standby leads")
        print(f"the standby led {time.monotonic() - began:.1f} s after the leader was killed")
        assert running.result() == expected
    wait_for(lambda: len(cluster.states()) == 2, within_s=30, what="both replicas report to it")
    for verb, state in (("cordon", "cordoned"), ("uncordon", "active")):
        call = getattr(operator_client, verb)
        assert call(cluster.control_address, ReplicaId("a")) == state


def leads(address: str) -> bool:
    """Whether the control plane at this very address answers operators itself."""
    try:
        operator_client.ask_at(
            address, lambda stub: stub.Status(control_pb2.StatusRequest(), timeout=5.0)
        )
    except ConnectionError:
        return False
    return True
