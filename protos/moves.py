"""The words of a move: what is ordered, what two replicas say to each other, how it ended.

A move takes one running sequence from its source to its target while it goes
on decoding. The source leads: it asks the target to reserve, copies the blocks
that are full, again those that filled meanwhile, freezes the sequence, copies
the rest and commits. Until `Committed` has arrived the sequence is the
source's, afterwards the target's. The gateway is told by the source
(protos.messages.Handoff) and adopts the sequence at the target; it follows one
of them at any time, so whatever is lost on the way, no token comes twice.

Messages are idempotent: one that was taken in already changes nothing.

A copy brings cached blocks, and no sequence. Its asker names them; what comes is
theirs as far as it goes, and whatever does not come is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NewType

from protos.hashing import BlockHash
from protos.messages import ModelCard, ReplicaId, Request, RequestId, SampledToken, SequenceId

MoveId = NewType("MoveId", str)  # unique for ever: whoever orders a move makes it up


class MoveOutcome(Enum):
    """How a move ended. Only the first two took the sequence away from its source."""

    MOVED = "moved"
    HANDED_BACK = "handed_back"  # to its gateway, which resumes it elsewhere
    ENDED = "ended"  # it finished, was cancelled or preempted before
    DECLINED = "declined"  # by the target
    LOST = "lost"  # the way to the target broke
    LATE = "late"  # the deadline passed
    UNKNOWN = "unknown"  # no such sequence, or not one that can move
    BUSY = "busy"  # too many moves run at the source already


@dataclass(frozen=True, slots=True)
class Peer:
    """A replica in one epoch, and where it listens."""

    replica_id: ReplicaId
    address: str
    epoch: int


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """The control plane to the source. Without a target the sequence is handed back."""

    move_id: MoveId
    sequence_id: SequenceId
    target: Peer | None
    deadline_ms: int  # from its arrival


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The source to the control plane: a move has ended."""

    move_id: MoveId
    sequence_id: SequenceId
    outcome: MoveOutcome
    detail: str = ""  # a sentence, where the outcome alone does not explain
    stages: int = 0  # copies while it went on decoding
    blocks_sent: int = 0
    blocks_shared: int = 0  # that the target had already
    bytes_sent: int = 0
    frozen_ns: int = 0  # from the last token at the source until the target had it all
    total_ns: int = 0
    # What moved and whither, for a leader that did not order it; only of a sequence that moved.
    target: ReplicaId | None = None
    request_id: RequestId | None = None  # its client's
    choice: int = 0


# ---- source to target


@dataclass(frozen=True, slots=True)
class Reserve:
    """Make room for a sequence, and say what of it is there already."""

    move_id: MoveId
    source: ReplicaId
    target_epoch: int  # a target of another epoch declines
    card: ModelCard
    request: Request  # as if to resume it: one choice, with its output so far


@dataclass(frozen=True, slots=True)
class Blocks:
    """The KV of blocks `first, first + 1, ...` of the sequence, all layers of each."""

    move_id: MoveId
    first: int
    payloads: tuple[bytes, ...]  # one for each block; the last one may be partly filled
    crc32: int  # of all payloads in order


@dataclass(frozen=True, slots=True)
class Commit:
    """The sequence stands still and every computed block has been sent: take it over."""

    move_id: MoveId
    said: tuple[SampledToken, ...]  # its whole output, as its client was told
    computed: int  # tokens whose KV was sent or shared


@dataclass(frozen=True, slots=True)
class Abort:
    """The source keeps the sequence; forget the move."""

    move_id: MoveId


ToTarget = Reserve | Blocks | Commit | Abort


# ---- target to source


@dataclass(frozen=True, slots=True)
class Reserved:
    """There is room. The first `held` blocks are here already and are not sent."""

    move_id: MoveId
    held: int


@dataclass(frozen=True, slots=True)
class Written:
    """Every block before `next_block` is in place."""

    move_id: MoveId
    next_block: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The sequence is here now, and waits for its gateway."""

    move_id: MoveId


class DeclineReason(Enum):
    """Why a target will not have a sequence, or no longer."""

    NOT_OPEN = "not_open"  # it takes no work itself
    EPOCH = "epoch"  # the order was for another epoch
    CARD = "card"  # it serves another model, or in another layout
    NO_ROOM = "no_room"  # not enough blocks, or its own sequences need them now
    BUSY = "busy"  # too many moves arrive already
    REFUSED = "refused"  # it would refuse the request itself
    BROKEN = "broken"  # what arrived is not what was sent
    UNKNOWN = "unknown"  # no such move (any more)


@dataclass(frozen=True, slots=True)
class Declined:
    """The target keeps nothing of the sequence."""

    move_id: MoveId
    reason: DeclineReason
    message: str


ToSource = Reserved | Written | Committed | Declined


@dataclass(frozen=True, slots=True)
class Claim:
    """What a gateway shows to adopt a sequence that waits for one."""

    request_id: RequestId
    choice: int
    digest: bytes  # protos.identity.request_digest
    next_index: int  # tokens before it are known; later ones are delivered (again)


# ---- copies of cached blocks


class CopyOutcome(Enum):
    """How the copy of a request's first blocks ended. Whatever is not here then is computed."""

    COPIED = "copied"  # or came meanwhile in another way
    PARTLY = "partly"  # the source did not have all of them (any more)
    DECLINED = "declined"  # the source is busy, or serves another model
    LOST = "lost"  # the source cannot be reached (any more)
    BROKEN = "broken"  # what came was not what was asked for
    LATE = "late"
    BUSY = "busy"  # too many copies come here already
    NO_ROOM = "no_room"  # sequences here need the memory
    LEFT = "left"  # its request was cancelled, overdue or handed back


@dataclass(frozen=True, slots=True)
class CopyAsk:
    """One replica to another: the blocks of this chain from `first` on, as far as you have them."""

    card: ModelCard
    root: BlockHash  # what the chain begins at: the card's scope and the tenant's salt
    names: tuple[BlockHash, ...]  # of all blocks, also those before `first`
    tokens: tuple[int, ...]  # of all of them
    first: int


@dataclass(frozen=True, slots=True)
class CopyChunk:
    """The KV of blocks `first, first + 1, ...` of the chain, all layers of each."""

    first: int
    payloads: tuple[bytes, ...]
    crc32: int  # of all payloads in order
