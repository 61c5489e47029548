"""The least time a step could take: what it must read and compute, at the machine's own rates.

Every weight is read once per step, every slot of KV that is attended to once
per sequence, and each product costs two operations per element. Whichever of
reading and computing takes longer is the floor; they could overlap, so the sum
would be no bound. Activations, norms and sampling are taken to be free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replicas.bench.machine import Rates
from replicas.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring tokens of one sequence computed in a step, after `cached` earlier ones."""

    tokens: int
    cached: int
    sampled: bool

    @property
    def pairs(self) -> int:
        """Query and key pairs under the causal mask."""
        return self.tokens * self.cached + self.tokens * (self.tokens + 1) // 2


@dataclass(frozen=True, slots=True)
class Work:
    """Bytes and operations of a step."""

    bytes_read: int
    flop: int

    def floor_ns(self, rates: Rates) -> int:
        """No step of this work is faster on a machine of these rates."""
        read_s = self.bytes_read / rates.read_bytes_per_s
        return int(1e9 * max(read_s, self.flop / rates.flop_per_s))


def layer_weights(config: ModelConfig) -> int:
    """Elements of the projections of one layer."""
    hidden = config.hidden_size
    attention = hidden * (config.query_size + 2 * config.kv_size) + config.query_size * hidden
    return attention + 3 * hidden * config.intermediate_size


def step_work(
    config: ModelConfig, stretches: Sequence[Stretch], *, element_bytes: int, shared: int = 0
) -> Work:
    """A step over these stretches. `shared` leading tokens are the same for all of them and
    read once."""
    body = config.layers * layer_weights(config)
    head = config.vocab_size * config.hidden_size
    sampled = sum(stretch.sampled for stretch in stretches)
    tokens = sum(stretch.tokens for stretch in stretches)
    read_kv = sum(stretch.cached + stretch.tokens - shared for stretch in stretches) + shared
    pairs = sum(stretch.pairs for stretch in stretches)
    weights = body + (head if sampled else 0)
    return Work(
        bytes_read=element_bytes * (weights + 2 * config.layers * config.kv_size * read_kv),
        flop=2 * tokens * body + 2 * sampled * head + 4 * config.layers * config.query_size * pairs,
    )


def total_floor_ns(works: Iterable[Work], rates: Rates) -> int:
    """Steps one after the other."""
    return sum(work.floor_ns(rates) for work in works)
