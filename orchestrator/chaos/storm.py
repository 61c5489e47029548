"""The random storm: faults that a seed draws and composes, and clients that make it worse.

Any member may be hit by any fault, several at once, so that now and then
nobody is left for a while. What is asked stays sensible: one load may have a
spike, some clients leave and some read slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from orchestrator.chaos.faults import (
    CLIENTS,
    Break,
    Delay,
    FailOver,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Skew,
    Slow,
    TimedFault,
)
from orchestrator.chaos.scenario import Load, Scenario, Shape, Spike, Storm


def drawn(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with what the seed draws for it; without a storm it stays as it is."""
    storm = scenario.storm
    if storm is None:
        return scenario
    random = Random(f"storm {seed}")
    count = random.randint(*storm.faults)
    faults = [
        TimedFault(
            round(random.uniform(0.0, scenario.seconds), 3),
            _fault(random, scenario.shape, random.choice(storm.seconds)),
        )
        for _ in range(count)
    ]
    loads = tuple(_load(random, load, scenario.seconds) for load in scenario.loads)
    faults += _before_gateways(Random(f"clients {seed}"), scenario, storm)
    return replace(
        scenario,
        faults=(*scenario.faults, *sorted(faults, key=lambda timed: timed.at_s)),
        loads=loads,
        storm=None,
    )


def _load(random: Random, load: Load, seconds: float) -> Load:
    spike = Spike(round(random.uniform(0.0, seconds), 3), 1.0, random.choice([2.0, 4.0, 8.0]))
    return replace(
        load,
        spikes=(*load.spikes, spike) if random.random() < 0.3 else load.spikes,
        leaves=random.choice([0.0, 0.1, 0.3]),
        reads_per_s=random.choice([None, None, None, 40.0]),
    )


def _fault(random: Random, shape: Shape, seconds: float) -> Fault:
    """One of a kind drawn first, so that no kind is rare."""
    replicas = [f"replica-{number}" for number in range(shape.replicas)]
    gateways = [f"gateway-{number}" for number in range(shape.gateways)]
    controls = [f"control-{number}" for number in range(shape.control_planes)]
    nodes = [f"node-{number}" for number in range(min(shape.replicas, shape.gateways))]
    leader = ["leader"] if controls else []
    one, other = _pair(random, replicas, gateways, controls)
    kinds: list[Callable[[], Fault]] = [
        lambda: Kill(random.choice([*replicas, *replicas, *gateways, "redis"]), seconds),
        lambda: Kill(random.choice([*nodes, *controls, *leader]), seconds),
        lambda: Pause(random.choice([*replicas, *gateways, *controls, "redis"]), seconds),
        lambda: Slow(random.choice([*replicas, "redis"]), random.choice([3.0, 30.0]), seconds),
        lambda: Restart((random.choice([*replicas, *gateways, *controls]),)),
        lambda: Restart((*replicas, *gateways, *controls)),
        Flush,
        FailOver,
        lambda: Delay(one, other, random.choice([0.02, 0.2, 1.5]), seconds),
        lambda: Loss(one, other, random.choice([0.05, 0.4]), seconds),
        lambda: Part(one, other, seconds),
        lambda: Break(one, other),
        lambda: Skew(random.choice([*gateways, *controls]), random.choice([-3.0, 0.5, 3.0])),
    ]
    return random.choice(kinds)()


def _before_gateways(random: Random, scenario: Scenario, storm: Storm) -> Iterator[TimedFault]:
    """At times, one way between clients and a gateway is bad as well."""
    if random.random() < 0.5:
        return
    ends = CLIENTS, f"gateway-{random.randrange(scenario.shape.gateways)}"
    seconds = random.choice(storm.seconds)
    kinds: list[Fault] = [
        Delay(*ends, random.choice([0.02, 0.2]), seconds),
        Loss(*ends, random.choice([0.05, 0.4]), seconds),
        Part(*ends, seconds),
        Break(*ends),
    ]
    yield TimedFault(round(random.uniform(0.0, scenario.seconds), 3), random.choice(kinds))


def _pair(
    random: Random, replicas: list[str], gateways: list[str], controls: list[str]
) -> tuple[str, str]:
    """Two who talk to each other."""
    one = random.choice(replicas)
    talking = [name for name in (*replicas, *gateways, *controls, "redis") if name != one]
    asks_redis = random.random() < 0.2
    return random.choice([*gateways, *controls]) if asks_redis else one, (
        "redis" if asks_redis else random.choice(talking)
    )
