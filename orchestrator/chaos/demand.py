"""What a scenario's seed asks of a cluster: the same requests at the same times in every world.

Arrivals are a Poisson process from the seed. What they ask comes from a
catalogue that no seed changes: each load has `variety` different requests,
told apart by their tag, lengths and number, so that a world which must compute
what a request says undisturbed does so once for many runs. Prompts are blocks
with ids; two requests share exactly the blocks of their common prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from orchestrator.chaos.scenario import Load, Scenario
from orchestrator.workload.traffic import NS_PER_S, Arrival, Traffic, in_order
from protos.messages import RequestClass

BLOCK_SIZE = 16
_ID_BITS = 40  # below those that belong to one arrival alone
LEAVES_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Due:
    """One request, and how its client behaves."""

    arrival: Arrival
    leaves_after_s: float | None  # its client goes away then, if it is not over
    reads_per_s: float | None  # tokens that the client takes; None: all at once
    is_poison: bool

    @property
    def number(self) -> int:
        return self.arrival.number

    @property
    def due_s(self) -> float:
        return self.arrival.arrival_ns / NS_PER_S


def demand(scenario: Scenario, seed: int) -> tuple[Due, ...]:
    """Every request that is due, by time, numbered from 0."""
    dues = [
        due
        for number, load in enumerate(scenario.loads)
        for due in _dues(Random(f"{seed} {number}"), load, scenario.seconds)
    ]
    dues.sort(key=lambda due: due.arrival.arrival_ns)  # stable: of two at once the earlier load's
    return tuple(
        replace(due, arrival=replace(due.arrival, number=number)) for number, due in enumerate(dues)
    )


def traffic(dues: tuple[Due, ...]) -> Traffic:
    """The arrivals alone."""
    return Traffic(in_order(due.arrival for due in dues), BLOCK_SIZE)


def words(block_id: int) -> str:
    """A block as text: as many letters and blanks as it has tokens, others for each id."""
    letters = []
    for _ in range(BLOCK_SIZE - 4):
        block_id, letter = divmod(block_id, 26)
        letters.append(chr(ord("a") + letter))
    return "".join((*letters[:4], " ", *letters[4:8], " ", *letters[8:], ". "))


def _dues(random: Random, load: Load, seconds: float) -> Iterator[Due]:
    catalogue = [_item(load, number) for number in range(load.variety)]
    for number, arrival_ns in enumerate(_arrivals(random, load, seconds)):
        # Of nothing but moments: as many different ones as there are, so that little is shared.
        item = random.choice(catalogue) if load.rate else catalogue[number % load.variety]
        leaves = random.random() < load.leaves
        after_s = random.uniform(0.05, LEAVES_WITHIN_S)
        yield Due(
            replace(item, arrival_ns=arrival_ns),
            after_s if leaves else None,
            load.reads_per_s,
            load.is_poison,
        )


def _arrivals(random: Random, load: Load, seconds: float) -> Iterator[int]:
    """The load's own process, one more for what each spike adds, and the moments it names."""
    yield from (round(at_s * NS_PER_S) for at_s in load.at_s)
    yield from _poisson(random, load.rate, 0.0, seconds)
    for spike in load.spikes:
        stop_s = min(seconds, spike.at_s + spike.seconds)
        if spike.times > 1:
            yield from _poisson(random, load.rate * (spike.times - 1), spike.at_s, stop_s)


def _poisson(random: Random, rate: float, start_s: float, stop_s: float) -> Iterator[int]:
    at_s = start_s
    if not rate:
        return
    while (at_s := at_s + random.expovariate(rate)) < stop_s:
        yield round(at_s * NS_PER_S)


def _item(load: Load, number: int) -> Arrival:
    """One request of the catalogue, without its time."""
    name = f"{load.tag} {load.prefix_tokens} {load.prompt_tokens} {load.output_tokens} {number}"
    random = Random(name)
    own_tokens = random.randint(*load.prompt_tokens)
    return Arrival(
        number=0,
        arrival_ns=0,
        input_tokens=load.prefix_tokens + own_tokens,
        output_tokens=random.randint(*load.output_tokens),
        block_ids=(
            *_ids(Random(f"prefix {load.tag}"), load.prefix_tokens // BLOCK_SIZE),
            *_ids(random, -(-(load.prefix_tokens % BLOCK_SIZE + own_tokens) // BLOCK_SIZE)),
        ),
        tag=load.tag,
        request_class=RequestClass(load.request_class),
    )


def _ids(random: Random, count: int) -> Iterator[int]:
    return (random.getrandbits(_ID_BITS) for _ in range(count))
