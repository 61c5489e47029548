"""Small worlds made from a seed: a few replicas, a lot of sharing, tight pools."""

from __future__ import annotations

from random import Random

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.world import History, WorldConfig, simulate
from orchestrator.workload.traffic import Arrival, Traffic, in_order

BLOCK_SIZE = 4


def small_traffic(seed: int, *, requests: int = 40, seconds: float = 2.0) -> Traffic:
    """Requests whose prompts are walks through a small tree of blocks."""
    random = Random(seed)
    arrivals = [
        Arrival(
            number=number,
            arrival_ns=int(random.random() * seconds * NS_PER_S),
            input_tokens=random.randint(1, 60),
            output_tokens=random.randint(1, 40),
            block_ids=walk(random),
        )
        for number in range(requests)
    ]
    return Traffic(in_order(arrivals), BLOCK_SIZE)


def walk(random: Random) -> tuple[int, ...]:
    """Ids of blocks from a root on; one of two ways at each fork."""
    ids = [random.randrange(2)]
    for _ in range(random.randrange(10)):
        ids.append(2 * ids[-1] + 2 + random.randrange(2))
    return tuple(ids)


def small_config(seed: int, *, policy: str = "blockyard") -> WorldConfig:
    """Between one and four replicas, with pools from tight to roomy."""
    random = Random(seed)
    return WorldConfig(
        replicas=random.randint(1, 4),
        gateways=random.randint(1, 2),
        blocks=random.randint(30, 120),
        block_size=BLOCK_SIZE,
        policy=policy,
        seed=seed,
        stale_s=random.choice([0.0, 0.0, 0.05]),
        sequences_max=random.choice([4, 32]),
        patience_s=300.0,
    )


def run(config: WorldConfig, traffic: Traffic) -> History:
    """With every checker at every step."""
    return simulate(config, traffic, Checkers())
