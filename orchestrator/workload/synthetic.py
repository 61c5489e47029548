"""Workloads made from a seed: the incident's two kinds of traffic, alone and together.

*chat*: a system prompt of 600 tokens that all share, a short question, a short
answer. *agents*: 50 to 4,000 tokens of their own, 800 to 1,500 generated.
*mix*: both. *spike*: the mix, and in its middle ten seconds in which the chat
comes ten times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random

from orchestrator.workload.traffic import NS_PER_S, Arrival, Traffic, merged

BLOCK_SIZE = 16
SYSTEM_PROMPT_TOKENS = 600
SYSTEM_PROMPT_IDS = tuple(range(SYSTEM_PROMPT_TOKENS // BLOCK_SIZE))
SECONDS = 60.0
SPIKE_SECONDS = 10.0


def chat(random: Random, *, start_s: float, seconds: float, rate: float) -> Iterator[Arrival]:
    """Requests that begin with one system prompt."""
    for arrival_ns in poisson(random, start_s=start_s, seconds=seconds, rate=rate):
        yield Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=SYSTEM_PROMPT_TOKENS + random.randint(20, 400),
            output_tokens=random.randint(40, 300),
            block_ids=SYSTEM_PROMPT_IDS,
            tag="A",
        )


def agents(random: Random, *, start_s: float, seconds: float, rate: float) -> Iterator[Arrival]:
    """Requests that share nothing and generate a lot."""
    for arrival_ns in poisson(random, start_s=start_s, seconds=seconds, rate=rate):
        yield Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=random.randint(50, 4000),
            output_tokens=random.randint(800, 1500),
            tag="B",
        )


def poisson(random: Random, *, start_s: float, seconds: float, rate: float) -> Iterator[int]:
    """Arrival times of a Poisson process."""
    at_s = start_s
    while (at_s := at_s + random.expovariate(rate)) < start_s + seconds:
        yield round(at_s * NS_PER_S)


def chat_only(random: Random) -> tuple[Arrival, ...]:
    return merged([chat(random, start_s=0, seconds=SECONDS, rate=10)])


def agents_only(random: Random) -> tuple[Arrival, ...]:
    return merged([agents(random, start_s=0, seconds=SECONDS, rate=2)])


def mix(random: Random) -> tuple[Arrival, ...]:
    return merged(
        [
            chat(random, start_s=0, seconds=SECONDS, rate=10),
            agents(random, start_s=0, seconds=SECONDS, rate=2),
        ]
    )


def spike(random: Random) -> tuple[Arrival, ...]:
    surge = chat(random, start_s=SECONDS / 3, seconds=SPIKE_SECONDS, rate=90)
    return merged([mix(random), surge])


WORKLOADS: Mapping[str, Callable[[Random], tuple[Arrival, ...]]] = {
    "chat": chat_only,
    "agents": agents_only,
    "mix": mix,
    "spike": spike,
}


def synthesize(name: str, seed: int) -> Traffic:
    """The workload of this name. KeyError where there is none."""
    return Traffic(WORKLOADS[name](Random(seed)), BLOCK_SIZE)
