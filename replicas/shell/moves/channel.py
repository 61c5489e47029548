"""The way between two replicas, as moves see it: one channel for each move."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from protos.hashing import BlockHash
from protos.messages import CopySource, ModelCard
from protos.moves import CopyAsk, CopyChunk, Peer, ToSource, ToTarget

Outgoing = TypeVar("Outgoing", contravariant=True)
Incoming = TypeVar("Incoming", covariant=True)


class PeerLost(Exception):
    """The other side has ended the channel, or cannot be reached (any more)."""


class PeerDeclined(Exception):
    """The other side will not, now or ever; it says why."""


class PeerChannel(Protocol[Outgoing, Incoming]):
    """One end. Messages arrive in order; a message may be lost only with all after it."""

    async def send(self, message: Outgoing) -> None:
        """Hand the message to the way there. Waits while the peer does not read; raises PeerLost.

        That it was sent does not say that it arrives.
        """
        ...

    async def receive(self) -> Incoming:
        """The next message. Raises PeerLost when none will come."""
        ...

    async def close(self) -> None:
        """End the channel; what was sent before may still arrive. Idempotent."""
        ...


SourceEnd = PeerChannel[ToTarget, ToSource]
TargetEnd = PeerChannel[ToSource, ToTarget]


@dataclass(frozen=True, slots=True)
class WarmBlock:
    """A block that many requests begin with. Its parent came before, or is the root."""

    parent: BlockHash
    index: int
    tokens: tuple[int, ...]
    payload: bytes


class Peers(Protocol):
    """How to reach other replicas."""

    def migrate(self, target: Peer) -> SourceEnd:
        """A channel for one move. It connects with the first message."""
        ...

    def warm(
        self, peer: Peer, card: ModelCard, blocks_max: int
    ) -> AsyncGenerator[tuple[WarmBlock, ...], None]:
        """What most requests at the peer begin with. Raises PeerLost."""
        ...

    def copy(self, source: CopySource, ask: CopyAsk) -> AsyncGenerator[CopyChunk, None]:
        """What the source has of it, from the first block on. Raises PeerLost or PeerDeclined."""
        ...
