"""What it costs to copy cached blocks here, as a line through the copies so far.

    time = start + blocks * per block

fitted by least squares, recent copies weighing more. Two made-up copies keep
the line in place while there are none or all are of one length; they say what
the configuration assumes of the way here. One copy that was held up counts as
no more than several times what was expected of it. One that was given up says
only that all of it would have taken longer; it never makes copies cheaper.

Dear copies are not made, and so cannot show that they have become cheap: who
has made none for long forgets what was dearer than assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replicas.shell.clock import NS_PER_S

# A copy's weight after one more: the last ten make two thirds of the line.
DECAY = 0.9
# Of each of the two made-up copies: next to nothing beside one real one.
PRIOR_WEIGHT = 0.02
PRIOR_BLOCKS = (1, 32)
# One copy counts as at most so many times what was expected, and at least its inverse.
OUTLIER = 4


@dataclass(slots=True)
class _Sums:
    """Of weights, blocks and times."""

    weight: float = 0.0
    blocks: float = 0.0
    squares: float = 0.0  # of blocks
    times: float = 0.0
    products: float = 0.0  # of blocks and times

    def add(self, weight: float, blocks: int, took_ns: int) -> None:
        self.weight += weight
        self.blocks += weight * blocks
        self.squares += weight * blocks * blocks
        self.times += weight * took_ns
        self.products += weight * blocks * took_ns

    def fade(self, factor: float) -> None:
        self.weight *= factor
        self.blocks *= factor
        self.squares *= factor
        self.times *= factor
        self.products *= factor


@dataclass(slots=True)
class CopyCost:
    """Nanoseconds. 0 and 0 until something is assumed: no copies are made."""

    start_ns: int = 0
    block_ns: int = 0
    _prior: _Sums = field(default_factory=_Sums)
    _copies: _Sums = field(default_factory=_Sums)

    def assume(self, *, start_ns: int, block_bytes: int, bytes_per_s: int) -> None:
        """What is believed before the first copy."""
        block_ns = max(1, block_bytes * NS_PER_S // bytes_per_s)
        for blocks in PRIOR_BLOCKS:
            self._prior.add(PRIOR_WEIGHT, blocks, start_ns + blocks * block_ns)
        self._fit()

    def expected_ns(self, blocks: int) -> int:
        return self.start_ns + blocks * self.block_ns

    def learn(self, blocks: int, took_ns: int) -> None:
        """So many blocks came in this time."""
        if not blocks:
            return
        if self.block_ns:
            expected_ns = self.expected_ns(blocks)
            took_ns = min(max(took_ns, expected_ns // OUTLIER), expected_ns * OUTLIER)
        self._copies.fade(DECAY)
        self._copies.add(1.0, blocks, took_ns)
        if self.block_ns:
            self._fit()

    def learn_late(self, blocks: int, waited_ns: int) -> None:
        """So many were asked for, and given up after this time: they would have taken longer."""
        if self.block_ns and waited_ns > self.expected_ns(blocks):
            self.learn(blocks, waited_ns)

    def forget(self) -> None:
        """Believe the assumption again, if the copies so far were dearer."""
        if not self.block_ns:
            return
        learned, believed = self._copies, self.expected_ns(PRIOR_BLOCKS[-1])
        self._copies = _Sums()
        self._fit()
        if self.expected_ns(PRIOR_BLOCKS[-1]) > believed:
            self._copies = learned
            self._fit()

    def _fit(self) -> None:
        copies, prior = self._copies, self._prior
        weight = copies.weight + prior.weight
        blocks = copies.blocks + prior.blocks
        times = copies.times + prior.times
        squares = copies.squares + prior.squares
        products = copies.products + prior.products
        slope = (weight * products - blocks * times) / (weight * squares - blocks * blocks)
        # Neither part can be less than nothing; then the other explains all of it.
        slope = min(max(slope, 1.0), products / squares)
        self.block_ns = max(1, round(slope))
        self.start_ns = max(0, round((times - slope * blocks) / weight))
