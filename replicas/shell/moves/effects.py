"""What the machines of a move ask to be done, and what they are told of it.

An effect that touches KV happens between two steps and is answered by exactly
one result, before the machine hears of anything else but the end of its time.
The other effects are done at once and answered by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import Request, SampledToken
from protos.moves import DeclineReason, ToSource, ToTarget

# ---- asked for by the source


@dataclass(frozen=True, slots=True)
class Tell:
    """Send this to the target."""

    message: ToTarget


@dataclass(frozen=True, slots=True)
class Copy:
    """Read the full blocks `first` to `stop - 1`. Answered by Copied or Gone."""

    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop the sequence and read all that is left of it from block `first` on.

    Only if that is at most `blocks_max` blocks when it happens. Answered by
    Frozen; by Copied without blocks when the sequence has run ahead; by Gone.
    """

    first: int
    blocks_max: int


@dataclass(frozen=True, slots=True)
class Keep:
    """The sequence stays: let it go on if it was frozen, and forget the move."""


@dataclass(frozen=True, slots=True)
class GiveAway:
    """The sequence is the target's: free it here, and tell its gateway where it is."""


OutboundEffect = Tell | Copy | Freeze | Keep | GiveAway

# ---- what the source is told


@dataclass(frozen=True, slots=True)
class Copied:
    """The payloads that were asked for, and for how many tokens KV is in place now."""

    payloads: tuple[bytes, ...]
    computed: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """It stands still: the rest of its KV, the last block perhaps in part, and what it has said."""

    payloads: tuple[bytes, ...]
    computed: int
    said: tuple[SampledToken, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """The sequence is no longer here to be moved: finished, cancelled or preempted."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The time for what goes on now is over."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The other side cannot be heard any more, or not be reached at all."""

    detail: str


OutboundEvent = ToSource | Copied | Frozen | Gone | Expired | Lost

# ---- asked for by the target


@dataclass(frozen=True, slots=True)
class Answer:
    """Send this to the source."""

    message: ToSource


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Reserve blocks for this request. Answered by Room or Failed."""

    request: Request


@dataclass(frozen=True, slots=True)
class Write:
    """Put KV into the blocks of the reserved table from `first` on. Answered by Wrote or Failed."""

    first: int
    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Admit:
    """Let the sequence run here, with what it has said. Answered by Admitted or Failed."""

    said: tuple[SampledToken, ...]
    computed: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Give back the room that was made, if it is still there."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The source has kept the sequence: end the copy that was admitted, unless it is claimed."""


InboundEffect = Answer | MakeRoom | Write | Admit | Drop | Recall

# ---- what the target is told


@dataclass(frozen=True, slots=True)
class Room:
    """There is room, and the first `held` blocks are here."""

    held: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """The KV is in place."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The sequence is this replica's, and waits for its gateway."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be done; whatever was reserved is given back next."""

    reason: DeclineReason
    message: str


InboundEvent = ToTarget | Room | Wrote | Admitted | Failed | Expired | Lost
