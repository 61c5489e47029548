"""The line of all sequences of an engine: who comes before whom, and who runs.

Everyone of a better class stands before everyone of a worse one. Inside a class
those who have begun stand in the order in which they began, and behind them
those who have not: who is due first stands first (EDF; a longer prompt is due
later), then who came first. A cut divides each class: before it they run,
behind it they wait, so that nobody takes the place of who has begun, and a
sequence that stops running is in its old place without being put there. Across
classes there is no cut: a worse one may run beside a better one that waits for
more room than all the worse ones could give it.

A sequence that was taken over from another replica runs at once and stands at
the cut of its class: behind those that ran here, before those that wait.

Beside the line stand reservations: sequences on their way here, which hold
blocks and a place already. They are no part of the order until they run. So do
those whose first blocks are on their way here, until they take the place among
those that wait which was theirs all the time: meanwhile they hold up nobody.

The line knows the order. Blocks, and who may run, are the scheduler's matter.
"""

from __future__ import annotations

from bisect import insort
from itertools import groupby

from replicas.engine.sequence import Sequence, SequenceState


class Line:
    """Every sequence that runs or waits, in order of place, and every reservation."""

    def __init__(self) -> None:
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.reserved: list[Sequence] = []  # the latest last
        self.held: list[Sequence] = []  # the latest last
        self._arrivals = 0

    @property
    def is_empty(self) -> bool:
        """Whether nobody runs or waits."""
        return not self.running and not self.waiting

    @property
    def places_taken(self) -> int:
        """Sequences that run or will without asking: unforked siblings, reservations."""
        return sum(1 + sequence.unforked for sequence in self.running) + len(self.reserved)

    def join(self, sequence: Sequence) -> None:
        """A newcomer waits, behind everybody of its class who has begun or is due before."""
        sequence.arrival = self._next()
        insort(self.waiting, sequence, key=_place)

    def join_running(self, sequence: Sequence) -> None:
        """One that ran elsewhere runs on, at the cut of its class."""
        sequence.has_begun = True
        behind = [
            other for other in self.waiting if other.rank == sequence.rank and other.has_begun
        ]
        # The first of them may be the sibling of one that runs, and of the same arrival.
        sequence.arrival = behind[0].arrival + 1 if behind else self._arrivals
        for other in behind:
            other.arrival += 2
        self._arrivals += 2
        insort(self.running, sequence, key=_place)

    def hold(self, sequence: Sequence) -> None:
        """One that waits, and has not begun, steps aside."""
        assert not sequence.has_begun, "held after it has begun"
        self.waiting.remove(sequence)
        self.held.append(sequence)

    def let_go(self, sequence: Sequence) -> None:
        """One that stepped aside takes its place."""
        self.held.remove(sequence)
        insort(self.waiting, sequence, key=_place)

    def start(self, sequence: Sequence) -> None:
        """The first of those waiting runs."""
        assert sequence is self.waiting[0], "only the head may start to run"
        del self.waiting[0]
        if not sequence.has_begun:
            sequence.has_begun = True
            sequence.arrival = self._next()
        insort(self.running, sequence, key=_place)

    def stop(self, sequence: Sequence) -> None:
        """The last of those running waits again, in its place."""
        assert sequence is self.running[-1], "only the last one may be preempted"
        insort(self.waiting, self.running.pop(), key=_place)

    def fork(self, parent: Sequence, siblings: list[Sequence]) -> None:
        """Siblings run right behind their parent."""
        after = self.running.index(parent) + 1
        self.running[after:after] = siblings

    def leave(self, sequence: Sequence) -> None:
        """Finished, cancelled, or gone to another replica."""
        if sequence.is_running:
            self.running.remove(sequence)
        elif sequence.state is SequenceState.HELD:
            self.held.remove(sequence)
        else:
            self.waiting.remove(sequence)

    def waits_before(self, rank: int) -> int:
        """How many wait that a newcomer of this rank would stand behind, held ones included."""
        return sum(sequence.rank <= rank for sequence in (*self.waiting, *self.held))

    def _next(self) -> int:
        self._arrivals += 1
        return self._arrivals - 1

    def check(self) -> None:
        """Assert the order of both lists, and the cut of each class."""
        for part in (self.running, self.waiting):
            places = [sequence.place for sequence in part]
            assert places == sorted(set(places)), f"the line is out of order: {places}"
        last = {rank: list(those)[-1] for rank, those in groupby(self.running, key=_rank)}
        for sequence in self.waiting:
            runs = last.get(sequence.rank)
            assert runs is None or runs.place < sequence.place, f"{runs} has overtaken {sequence}"
            assert sequence.state in (SequenceState.WAITING, SequenceState.PREEMPTED)
            assert not sequence.block_table and not sequence.computed and not sequence.named
        for sequence in self.reserved:
            assert sequence.state is SequenceState.RESERVED and not sequence.computed
        for sequence in self.held:
            assert sequence.state is SequenceState.HELD and not sequence.has_begun
            assert sequence.computed == sequence.named * sequence.block_size
        for sequence in self.running:
            assert sequence.is_running, f"{sequence.label} is not running"
            assert sequence.state is not SequenceState.FROZEN or sequence.mover is not None


def _place(sequence: Sequence) -> tuple[int, bool, int, int, int]:
    return sequence.place


def _rank(sequence: Sequence) -> int:
    return sequence.rank
