"""The network of a chaos cluster, with plain sockets at both ends of its ways."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from orchestrator.live.chaos.network import Network
from orchestrator.live.chaos.way import PACKET_BYTES_MAX, PACKETS_MAX

BOUND_S = 20.0
BRIEFLY_S = 0.3  # for what must not come


@dataclass
class Callers:
    """Who owns which source port, as a test decides."""

    names: dict[int, str] = field(default_factory=dict)

    def at(self, port: int, _: int) -> str | None:
        return self.names.get(port)

    def call(self, port: int, name: str | None = None) -> socket.socket:
        """A connection from a member, or from a stranger."""
        caller = socket.socket()
        caller.settimeout(BOUND_S)
        caller.bind(("127.0.0.1", 0))
        if name is not None:
            self.names[caller.getsockname()[1]] = name
        try:
            caller.connect(("127.0.0.1", port))
        except OSError:  # on a busy machine a reset overtakes the handshake's end
            caller.close()
            raise
        return caller


@dataclass
class Place:
    """A network with one member behind it, who is reached at `port`."""

    network: Network
    callers: Callers
    listener: socket.socket
    port: int

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(BOUND_S)
        return connection

    @contextmanager
    def connected(self, name: str | None = "a") -> Iterator[tuple[socket.socket, socket.socket]]:
        """A caller and the member `b`, who have spoken."""
        with self.callers.call(self.port, name) as caller:
            caller.sendall(b"hello")
            with self.accept() as called:
                assert called.recv(100) == b"hello"
                yield caller, called


@pytest.fixture
def place() -> Iterator[Place]:
    callers = Callers()
    with socket.create_server(("127.0.0.1", 0)) as listener, Network(callers.at) as network:
        listener.settimeout(BOUND_S)
        yield Place(network, callers, listener, network.open("b", listener.getsockname()[1]))


def says_nothing(connection: socket.socket) -> bool:
    """Whether nothing comes, not even an end."""
    connection.settimeout(BRIEFLY_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(BOUND_S)
    return False


def receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(65536)
        assert chunk, f"it ended after {len(received)} of {count} bytes"
        received += chunk
    return received


def test_both_directions_and_both_ends_are_carried(place: Place) -> None:
    with place.connected() as (caller, called):
        called.sendall(b"welcome")
        assert receive(caller, 7) == b"welcome"
        caller.shutdown(socket.SHUT_WR)
        assert called.recv(1) == b"", "the end of one direction"
        called.sendall(b"more")
        assert receive(caller, 4) == b"more"


def test_a_megabyte_comes_out_as_it_went_in(place: Place) -> None:
    data = bytes(range(256)) * 8192
    with place.connected() as (caller, called):
        sending = threading.Thread(target=caller.sendall, args=(data,))
        sending.start()
        assert receive(called, len(data)) == data
        sending.join(BOUND_S)


def test_who_is_not_read_from_cannot_send_for_ever(place: Place) -> None:
    """The proxy holds so much and no more: then its caller feels it."""
    most = 4 * PACKETS_MAX * PACKET_BYTES_MAX + 64 * 1024 * 1024  # and what kernels hold
    with place.connected() as (caller, _called):
        caller.settimeout(2.0)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < most:
                sent += caller.send(bytes(PACKET_BYTES_MAX))
        assert sent < most


def test_what_is_delayed_comes_late_and_whole(place: Place) -> None:
    with place.connected() as (caller, called):
        place.network.delay("a", "b", 0.4)
        began = time.monotonic()
        caller.sendall(b"late")
        assert receive(called, 4) == b"late"
        assert time.monotonic() - began >= 0.4
        called.sendall(b"so too")
        assert receive(caller, 6) == b"so too"
        assert time.monotonic() - began >= 0.8


def test_a_lost_packet_is_sent_again_and_holds_up_the_next(place: Place) -> None:
    with place.connected() as (caller, called):
        place.network.lose("a", "b", 1.0)
        began = time.monotonic()
        caller.sendall(b"lost")
        assert says_nothing(called)
        place.network.lose("a", "b", 0.0)
        caller.sendall(b" found")
        assert receive(called, 10) == b"lost found"
        assert time.monotonic() - began >= 0.2


def test_nobody_is_told_of_a_partition_and_nothing_said_meanwhile_is_lost(place: Place) -> None:
    with place.connected() as (caller, called):
        place.network.part("b", "a")  # a way has no direction
        caller.sendall(b"anybody there?")
        caller.shutdown(socket.SHUT_WR)
        assert says_nothing(called)
        place.network.heal("a", "b")
        assert receive(called, 14) == b"anybody there?"
        assert called.recv(1) == b"", "the end came too"


def test_a_new_connection_into_a_partition_hangs_until_it_is_over(place: Place) -> None:
    place.network.part("a", "b")
    place.listener.settimeout(BRIEFLY_S)
    with place.callers.call(place.port, "a") as caller:
        with pytest.raises(TimeoutError):
            place.accept()
        place.listener.settimeout(BOUND_S)
        place.network.heal("a", "b")
        with place.accept() as called:
            caller.sendall(b"at last")
            assert receive(called, 7) == b"at last"


def test_others_are_not_parted(place: Place) -> None:
    place.network.part("a", "b")
    for name in ("c", None):
        with place.connected(name) as (caller, called):
            called.sendall(b"yes")
            assert receive(caller, 3) == b"yes"


def test_a_broken_connection_is_reset_at_both_ends_and_others_live(place: Place) -> None:
    with place.connected("a") as (caller, called), place.connected("c") as (other, answering):
        place.network.sever("a", "b")
        for end in (caller, called):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        answering.sendall(b"yes")
        assert receive(other, 3) == b"yes"
    with place.connected("a"):
        pass  # once only


def test_the_death_of_one_end_is_the_death_of_the_other(place: Place) -> None:
    with place.connected() as (caller, called):
        called.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        called.close()
        with pytest.raises(ConnectionResetError):
            caller.recv(1)


def test_a_member_that_is_not_there_is_told_by_a_reset(place: Place) -> None:
    place.listener.close()
    with pytest.raises(ConnectionResetError), place.callers.call(place.port, "a") as caller:
        caller.recv(1)


def test_another_process_may_answer_for_a_member(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as successor, place.connected() as (caller, _):
        place.network.redirect("b", successor.getsockname()[1])
        with pytest.raises(ConnectionResetError):
            caller.recv(1)
        with place.callers.call(place.port, "a") as again:
            again.sendall(b"you?")
            called, _ = successor.accept()
            with called:
                assert receive(called, 4) == b"you?"


def test_a_door_for_one_caller_asks_nobody_who_calls(place: Place) -> None:
    port = place.network.open("b", place.listener.getsockname()[1], caller="z")
    with place.callers.call(port) as caller:
        caller.sendall(b"it is me")
        with place.accept() as called:
            assert receive(called, 8) == b"it is me"
            place.network.part("z", "b")
            caller.sendall(b"?")
            assert says_nothing(called)
