"""The simulated network: nodes, and connections between them that break.

A connection is what gRPC makes of a stream: messages arrive in order and none
is lost until the connection breaks. That loses all that is under way, and each
end learns of it, the far one later. Two nodes can be parted: what they send is
held up, neither is told why, and no new connection is made until they are
joined again. What two nodes send each other can lag, by as much as whoever
makes it lag says of each message. A node that dies breaks all its connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from orchestrator.sim.pipe import Pipe

In = TypeVar("In")
Out = TypeVar("Out")
Up = TypeVar("Up")  # from who connects
Down = TypeVar("Down")  # from who answers


class Unreachable(Exception):
    """Nobody answers at the address, or the way there is parted."""


class End(Generic[In, Out]):
    """One side of a connection. `listen` at once: before that, nothing can have arrived."""

    def __init__(self) -> None:
        self.sent = 0
        self._receive: Callable[[In], None] | None = None
        self._lost: Callable[[], None] | None = None
        self._data: Pipe[Out]
        self._gone: Pipe[None]
        self._far: End[Out, In]

    def lead_to(self, far: End[Out, In], *, delay_s: float) -> None:
        """Lay the way from here to the other end."""
        self._far = far
        self._data = Pipe(far._take, delay_s=delay_s)
        self._gone = Pipe(far._learn, delay_s=delay_s)

    def listen(self, receive: Callable[[In], None], lost: Callable[[], None]) -> None:
        """Be told of each message, and once that no more will come."""
        self._receive = receive
        self._lost = lost

    @property
    def is_over(self) -> bool:
        """Whether this end closed, or has learned that the connection broke."""
        return self._lost is None

    def send(self, message: Out) -> None:
        """Never blocks and never fails; after a break it goes nowhere."""
        self.sent += 1
        self._data.send(message)

    def close(self) -> None:
        """Break the connection from this side: only the other one is told. Idempotent."""
        self._receive = self._lost = None
        self._far._data.cut()
        self.abort()

    def abort(self) -> None:
        """Lose what is under way from here, and let the other end know."""
        self._data.cut()
        self._gone.send(None)

    def hold(self) -> None:
        self._data.hold()
        self._gone.hold()

    def flow(self) -> None:
        self._data.flow()
        self._gone.flow()

    def lag_by(self, lag_s: Callable[[], float] | None) -> None:
        """What is sent from here on comes later by so much."""
        self._data.lag_s = self._gone.lag_s = lag_s

    def _take(self, message: In) -> None:
        if self._receive is not None:
            self._receive(message)

    def _learn(self, _: None) -> None:
        lost, self._receive, self._lost = self._lost, None, None
        if lost is not None:
            lost()


class _Way(Protocol):
    """What the network does to an end, whatever it carries."""

    @property
    def is_over(self) -> bool: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def hold(self) -> None: ...

    def flow(self) -> None: ...

    def lag_by(self, lag_s: Callable[[], float] | None) -> None: ...


class Network:
    """Who is connected to whom, and who cannot be."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self._lines: list[tuple[dict[str, _Way], frozenset[str]]] = []
        self._parted: set[frozenset[str]] = set()
        self._lags: dict[frozenset[str], Callable[[], float]] = {}

    def connect(self, near: str, far: str) -> tuple[End[Down, Up], End[Up, Down]]:
        """Two joined ends, the near one first. Raises Unreachable."""
        pair = frozenset({near, far})
        if pair in self._parted:
            raise Unreachable
        caller: End[Down, Up] = End()
        answerer: End[Up, Down] = End()
        caller.lead_to(answerer, delay_s=self.delay_s)
        answerer.lead_to(caller, delay_s=self.delay_s)
        for end in (caller, answerer):
            end.lag_by(self._lags.get(pair))
        self._forget_broken()
        self._lines.append(({near: caller, far: answerer}, pair))
        return caller, answerer

    def kill(self, node: str) -> None:
        """The node is no more: its connections break, and only the others learn it."""
        for ends, pair in self._lines:
            if node in pair:
                ends[node].close()

    def break_between(self, one: str, other: str) -> None:
        """Every connection of the two breaks, and both learn it."""
        pair = frozenset({one, other})
        for ends, between in self._lines:
            if between == pair:
                for end in ends.values():
                    end.abort()

    def part(self, one: str, other: str) -> None:
        """Nothing gets through between the two, either way."""
        pair = frozenset({one, other})
        self._parted.add(pair)
        for ends, between in self._lines:
            if between == pair:
                for end in ends.values():
                    end.hold()

    def join(self, one: str, other: str) -> None:
        """What was held up arrives. Idempotent."""
        pair = frozenset({one, other})
        self._parted.discard(pair)
        for ends, between in self._lines:
            if between == pair:
                for end in ends.values():
                    end.flow()

    def is_parted(self, one: str, other: str) -> bool:
        return frozenset({one, other}) in self._parted

    def lag(self, one: str, other: str, lag_s: Callable[[], float] | None) -> None:
        """Each message between the two comes later by what `lag_s` says then; None: no more."""
        pair = frozenset({one, other})
        self._lags.pop(pair, None)
        if lag_s is not None:
            self._lags[pair] = lag_s
        for ends, between in self._lines:
            if between == pair:
                for end in ends.values():
                    end.lag_by(lag_s)

    def lag_s(self, one: str, other: str) -> float:
        """By how much a message that is sent now is late."""
        lag = self._lags.get(frozenset({one, other}))
        return 0.0 if lag is None else lag()

    def _forget_broken(self) -> None:
        """Both ends know; until then what one is to learn may be held up."""
        self._lines = [
            (ends, pair)
            for ends, pair in self._lines
            if not all(end.is_over for end in ends.values())
        ]


class Exchange(Generic[Up, Down]):
    """One kind of service: who answers at which address."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._answering: dict[str, tuple[str, Callable[[End[Up, Down]], None]]] = {}

    def answer(self, address: str, node: str, accept: Callable[[End[Up, Down]], None]) -> None:
        """From now on `accept` gets the far end of every connection to the address."""
        self._answering[address] = node, accept

    def hang_up(self, address: str) -> None:
        """Nobody answers there any more. Idempotent."""
        self._answering.pop(address, None)

    def connect(self, node: str, address: str) -> End[Down, Up]:
        """The near end of a new connection. Raises Unreachable."""
        if address not in self._answering:
            raise Unreachable
        answering, accept = self._answering[address]
        caller: End[Down, Up]
        caller, answerer = self._network.connect(node, answering)
        accept(answerer)
        return caller
