"""What can go wrong, as data. Each world knows how to make it happen.

Every fault heals itself: who is killed starts again after `seconds`, who is
parted is joined. A world that cannot do one says so by its name; it never
passes over it in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

CLIENTS = "clients"  # all of them: one end of a way whose other end is a gateway


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL; a new process takes its place after so many seconds."""

    who: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """SIGSTOP, later SIGCONT: it hangs, and comes back as if nothing had been."""

    who: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """It takes so many times as long for everything."""

    who: str
    times: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Restart:
    """An orderly stop and a new start, one after the other for each that is named."""

    who: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flush:
    """Redis forgets everything."""


@dataclass(frozen=True, slots=True)
class FailOver:
    """Redis dies and its replica takes its place, at the same address."""


@dataclass(frozen=True, slots=True)
class Delay:
    """What the two say takes so much longer. `redis` has a way to each, `clients` to gateways."""

    one: str
    other: str
    delay_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Loss:
    """So many of the packets between the two get lost and are sent again."""

    one: str
    other: str
    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """Nothing gets through between the two, and neither is told."""

    one: str
    other: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """All connections between the two break once."""

    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Skew:
    """Its clock jumps by so much."""

    who: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Scale:
    """There are to be so many replicas: new ones start, the last ones leave in order."""

    replicas: int


Fault = (
    Kill | Pause | Slow | Restart | Flush | FailOver | Delay | Loss | Part | Break | Skew | Scale
)


@dataclass(frozen=True, slots=True)
class TimedFault:
    """A fault, and when it strikes."""

    at_s: float
    fault: Fault
