"""What the registry has yet to be told about this replica's blocks.

Events fold: of all that happened to a name since the last batch only the
last word counts, and it goes out once. Batches are numbered; one that was not
acknowledged is offered again unchanged, since the registry may have applied
it without our knowing.

When the story has a hole (a new epoch, a gap the registry saw, more pending
changes than saying everything anew would cost) the next batch is complete:
it opens with what the engine holds now, and the rest of a long inventory
follows in ordinary batches, so that no write is ever longer than
`hashes_max`.

A registry that failed over may have lost the last batches although it had
acknowledged them. The next batch's number shows it; where nothing happens any
more, an empty one does (`probe`).

It is told the time with every change, so that it can say since when the
registry has not known the oldest of what is pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from protos.hashing import BlockHash
from protos.messages import BlockEvent, BlockStored
from protos.registry import BlockBatch


class BlockFeed:
    """Folds block events into numbered batches of one epoch.

    `inventory` names all blocks that the engine can find now. Events that it
    takes account of already may still be added: the last word is the same.
    """

    def __init__(
        self,
        inventory: Callable[[], Sequence[BlockHash]],
        *,
        hashes_max: int,
        pending_max: int,
    ) -> None:
        self._inventory = inventory
        self._hashes_max = hashes_max
        self._pending_max = pending_max
        # name -> is it stored, and since when it is so; oldest change first
        self._pending: dict[BlockHash, tuple[bool, int | None]] = {}
        self._is_stale = True  # what is pending does not tell the whole story
        self._stale_since_ns: int | None = None  # before the first epoch nothing is owed
        self._offered: BlockBatch | None = None
        self._offered_since_ns: int | None = None  # the oldest change that it tells
        self._is_probing = False
        self._number = 0

    @property
    def is_empty(self) -> bool:
        return not (self._is_stale or self._pending or self._offered or self._is_probing)

    @property
    def is_full(self) -> bool:
        """A whole batch is waiting."""
        return len(self._pending) >= self._hashes_max

    @property
    def owed_since_ns(self) -> int | None:
        """When the oldest change was that has not been acknowledged; None: there is none."""
        _, oldest = next(iter(self._pending.values()), (False, None))
        stale = self._stale_since_ns if self._is_stale else None
        since = [at for at in (self._offered_since_ns, stale, oldest) if at is not None]
        return min(since, default=None)

    def add(self, events: Iterable[BlockEvent], now_ns: int) -> None:
        if self._is_stale:
            return  # the inventory will say it
        for event in events:
            self._pending.pop(event.block_hash, None)
            self._pending[event.block_hash] = (isinstance(event, BlockStored), now_ns)
        if len(self._pending) > self._pending_max:
            self.restart(now_ns)

    def begin_epoch(self, now_ns: int) -> None:
        """Count from 0 and start with everything."""
        self._number = 0
        self._offered = self._offered_since_ns = None
        self.restart(now_ns)

    def restart(self, now_ns: int) -> None:
        """The next batch formed is complete. One already offered is still due before it."""
        if not self._is_stale or self._stale_since_ns is None:
            self._stale_since_ns = now_ns
        self._is_stale = True
        self._pending.clear()

    def probe(self) -> None:
        """Offer a batch even if nothing has changed: its answer tells whether all have arrived."""
        self._is_probing = True

    def offer(self) -> BlockBatch | None:
        """The batch to send next: the same one until `settle`. None: nothing to tell."""
        if self._offered is None and not self.is_empty:
            self._offered = self._form()
        return self._offered

    def settle(self) -> None:
        """The offered batch was answered, whatever the answer was."""
        assert self._offered is not None, "only an offered batch is answered"
        self._offered = self._offered_since_ns = None

    def _form(self) -> BlockBatch:
        is_complete = self._is_stale
        self._is_probing = False
        if is_complete:
            self._pending = dict.fromkeys(self._inventory(), (True, self._stale_since_ns))
            self._is_stale = False
        oldest = list(islice(self._pending.items(), self._hashes_max))
        for block_hash, _ in oldest:
            del self._pending[block_hash]
        self._offered_since_ns = oldest[0][1][1] if oldest else None
        batch = BlockBatch(
            number=self._number,
            stored=tuple(block_hash for block_hash, (is_stored, _) in oldest if is_stored),
            removed=tuple(block_hash for block_hash, (is_stored, _) in oldest if not is_stored),
            complete=is_complete,
        )
        self._number += 1
        return batch
