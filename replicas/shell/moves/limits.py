"""The bounds of moves, with what happens at each.

Downtime is what a move is judged by: the time from the last token at the
source to the next one at the target. It is the copy of the tail plus a round
trip and a wait for each side's step, so the tail is what these numbers keep
small. All the others keep a move from hurting the sequences that stay.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MoveLimits:
    """What a replica allows moves to take, as source and as target."""

    # Of one message, and of what is read or written between two steps: a millisecond or two of
    # copying. A block that is larger travels alone.
    chunk_bytes_max: int = 4 << 20
    # Sent and not yet written there; at the bound the source reads no further. Two keep the wire
    # busy while a third is being written.
    chunks_unacknowledged_max: int = 3
    # A sequence freezes when this much of it is left: the block that fills and the one before.
    tail_blocks: int = 2
    # And when there were enough stages, as long as no more than this is left; else the move ends
    # as too late: the sequence grows as fast as it is copied.
    tail_blocks_max: int = 8
    # Each stage copies what was made during the one before. At twice the speed of growth a
    # context of 64 k blocks is down to the tail after 16.
    stages_max: int = 16
    # A frozen sequence goes on at its source after this: some steps of either side and the tail
    # over a slow link. Its client sees a pause, not an error.
    frozen_ms_max: int = 2000
    # A target whose source says nothing for so long gives the room back.
    silence_ms_max: int = 10_000
    moves_out_max: int = 2  # at once; a further order is answered `busy`
    moves_in_max: int = 2  # at once; a further source is declined as `busy`
    # Of all moves out, at most this fast: a fifth of a 10 Gbit/s link. Tails do not wait for it.
    bytes_per_s: int = 256 << 20
    # Reports of ended moves, kept for the next leader; at the bound the oldest is forgotten.
    reports_max: int = 256
    # Ids of ended moves, so that an order that comes twice is obeyed once.
    ended_max: int = 1024
    # What a replica that has just started may ask of another one.
    warm_blocks_max: int = 1024
    # ---- copies of cached blocks to requests that have not begun
    copies_in_max: int = 8  # at once; a request that would need one more computes
    holds_max: int = 64  # requests that wait for copies, their own or another one's; as above
    copies_out_max: int = 8  # at once; a further asker is declined, and computes
    # Read between two steps of the source, and one message: some milliseconds of copying.
    copy_chunk_bytes_max: int = 8 << 20
    # Read ahead of what is written; at the bound the wire waits. A step of the taker can be long.
    copy_chunks_max: int = 8
    # A copy is late after so many times what it was expected to take, but not before the least
    # time; and always when its request is overdue.
    copy_patience: int = 4
    copy_ms_min: int = 100
    # An asker who has not read a chunk after this has gone, whatever its connection says.
    copy_unread_ms_max: int = 10_000
    # After so many failures in a row no copies are made here for a while, which doubles each time.
    copy_failures_max: int = 3
    copy_rest_ms_min: int = 1000
    copy_rest_ms_max: int = 60_000
    # What made copies dearer than assumed is forgotten when none were made for so long.
    copy_memory_ms: int = 60_000
