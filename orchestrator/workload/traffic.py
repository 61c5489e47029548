"""What is asked of the simulated cluster: requests with a time of arrival.

An arrival knows its prompt by block ids; the tokens are made only when it is
due, since a trace's prompts would fill the memory. A request always generates
exactly `output_tokens`: there is no stop token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from orchestrator.workload.tokens import block_tokens
from protos.messages import Request, RequestClass, RequestId, SamplingParams

NS_PER_S = 1_000_000_000
NS_PER_MS = NS_PER_S // 1000
# Ids from here on belong to one request alone; a trace's own ids are smaller.
PRIVATE_IDS = 1 << 40
# Longest stretch made from one private id.
PRIVATE_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a workload."""

    number: int
    arrival_ns: int
    input_tokens: int
    output_tokens: int
    block_ids: tuple[int, ...] = ()  # of its leading blocks; what they do not cover is unique
    tag: str = ""
    choices: int = 1
    salt: bytes = b""
    request_class: RequestClass = RequestClass.INTERACTIVE

    def request(self, block_size: int) -> Request:
        """The request itself. `block_size` is that of the block ids."""
        return Request(
            RequestId(f"r{self.number}"),
            self._prompt(block_size),
            SamplingParams(tokens_max=self.output_tokens, temperature=0.0, seed=self.number),
            choices=self.choices,
            salt=self.salt,
            request_class=self.request_class,
        )

    def _prompt(self, block_size: int) -> tuple[int, ...]:
        tokens: list[int] = []
        for block_id in self.block_ids:
            tokens.extend(block_tokens(block_id, block_size))
        while len(tokens) < self.input_tokens:
            tokens.extend(block_tokens(PRIVATE_IDS + self.number, PRIVATE_TOKENS))
        return tuple(tokens[: self.input_tokens])


@dataclass(frozen=True, slots=True)
class Traffic:
    """A workload: arrivals in order of time, and the block size of their ids."""

    arrivals: tuple[Arrival, ...]
    block_size: int
    tick_ms: int = 0  # arrivals are only known to so much

    @property
    def seconds(self) -> float:
        """When the last request arrives."""
        return max((a.arrival_ns for a in self.arrivals), default=0) / NS_PER_S

    def faster(self, speed: float) -> Traffic:
        """The same requests in a fraction of the time."""
        arrivals = (replace(a, arrival_ns=round(a.arrival_ns / speed)) for a in self.arrivals)
        return replace(self, arrivals=tuple(arrivals))

    def spread(self, seed: int) -> Traffic:
        """Arrivals at a random place inside their tick."""
        random = Random(seed)
        tick_ns = self.tick_ms * NS_PER_MS
        moved = [
            replace(a, arrival_ns=a.arrival_ns + int(random.random() * tick_ns))
            for a in self.arrivals
        ]
        return replace(self, arrivals=in_order(moved), tick_ms=0)


def in_order(arrivals: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """By time; of two at the same time the one numbered first."""
    return tuple(sorted(arrivals, key=lambda a: (a.arrival_ns, a.number)))


def merged(streams: Sequence[Iterable[Arrival]]) -> tuple[Arrival, ...]:
    """Several workloads as one, numbered anew by time."""
    arrivals = in_order(arrival for stream in streams for arrival in stream)
    return tuple(replace(arrival, number=number) for number, arrival in enumerate(arrivals))
