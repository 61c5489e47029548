"""Gateways and leaders die; clients go on with what they had."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from orchestrator.live import operator_client
from orchestrator.live.chaos.process import Process
from orchestrator.live.control_door import ControlDoor
from protos import control_pb2
from protos.messages import ReplicaId
from protos.transport import Transport
from tests.integration.cluster.clients import Reader, assert_same, body
from tests.integration.cluster.watched import Watched
from tests.waiting import wait_for

TOKENS = 1200
REPLICAS = ("a", "b")


@pytest.fixture
def two_gateways() -> Iterator[Watched]:
    """One of which may be killed."""
    with Watched() as processes:
        processes.start(replicas=REPLICAS, gateways=2)
        yield processes


@pytest.fixture
def leader_and_standby() -> Iterator[Watched]:
    """Two control planes, in an order that is theirs."""
    with Watched() as processes:
        processes.start(replicas=REPLICAS, control_planes=2)
        yield processes


@dataclass
class Listener:
    """Reads the same story over and over; everybody may see how far it is."""

    url: str
    events: int = 0
    said: list[str] = field(default_factory=list)
    is_enough: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        while not self.is_enough.is_set():
            reader = Reader(9, body(9, tokens=TOKENS))
            for _ in reader.events(self.url):
                self.events += 1
            assert reader.is_done
            self.said.append(reader.text)


def test_a_stream_goes_on_at_another_gateway_when_its_own_is_killed(
    two_gateways: Watched,
) -> None:
    first, second = two_gateways.gateways
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
    assert_same(reader, whole)
    two_gateways.wait_until_quiet()


def test_a_stream_goes_on_where_it_waits_when_its_gateway_leaves_in_order(
    two_gateways: Watched,
) -> None:
    """The gateway's time to finish what runs is over: nothing is computed again for that."""
    first, second = two_gateways.gateways
    whole = Reader(6, body(6, tokens=TOKENS, n=2, logprobs=1))
    whole.read(second.address)
    reader = Reader(6, body(6, tokens=TOKENS, n=2, logprobs=1))
    with pytest.raises(AssertionError, match="gateway_stopping"):
        for count in reader.events(first.address):
            if count == 100:
                first.ask_to_stop()
    first.wait_until_ended()  # and with it its links: what it followed waits now
    reader.read(second.address)
    assert_same(reader, whole)
    metrics = httpx.get(f"{second.address}/metrics").text
    assert 'blockyard_takeovers_total{reason="adopted"} 2.0' in metrics, (
        "both choices, where they were"
    )
    assert 'blockyard_takeovers_total{reason="gone"} 0.0' in metrics
    two_gateways.wait_until_quiet()


def test_a_killed_leader_is_succeeded_and_no_stream_notices(leader_and_standby: Watched) -> None:
    cluster = leader_and_standby
    leader, standby = wait_for(
        lambda: in_order(cluster), within_s=120, what="one leads and the other does not"
    )
    url = cluster.gateways[0].address
    expected = Reader(9, body(9, tokens=TOKENS)).read(url)
    listener = Listener(url)
    while_nobody_led: list[int] = []  # how far it was

    def is_succeeded() -> bool:
        events = listener.events  # seen before nobody led still
        if leads(standby.address):
            return True
        while_nobody_led.append(events)
        return False

    with ThreadPoolExecutor(1) as pool:
        listening = pool.submit(listener.listen)
        try:
            wait_for(lambda: listener.events > 100, within_s=60, what="a stream that runs")
            leader.kill()
            began = time.monotonic()
            wait_for(is_succeeded, within_s=120, what="the standby leads")
            print(f"the standby led {time.monotonic() - began:.1f} s after the leader was killed")
        finally:
            listener.is_enough.set()
        listening.result()
    assert while_nobody_led[-1] > while_nobody_led[0], "no stream ran while nobody led"
    assert set(listener.said) == {expected}
    wait_for(lambda: len(cluster.states()) == 2, within_s=120, what="both replicas report to it")
    for verb, state in (("cordon", "cordoned"), ("uncordon", "active")):
        call = getattr(operator_client, verb)
        assert call(cluster.control, ReplicaId("a")) == state


def in_order(cluster: Watched) -> tuple[Process, Process] | None:
    """Who leads and who stands by; None while nobody does, or two seem to."""
    one, other = cluster.control_planes
    match leads(one.address), leads(other.address):
        case True, False:
            return one, other
        case False, True:
            return other, one
    return None


def leads(address: str) -> bool:
    """Whether the control plane at this very address answers operators itself."""
    try:
        answers = operator_client.listen_at(
            ControlDoor(address, Transport()),
            lambda stub: iter((stub.Status(control_pb2.StatusRequest(), timeout=5.0),)),
        )
        return len(list(answers)) == 1
    except ConnectionError:
        return False
