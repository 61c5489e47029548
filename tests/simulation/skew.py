"""A world in which every long agent begins on one replica, and people ask on all of them."""

from __future__ import annotations

from random import Random

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.world import History, WorldConfig, simulate
from orchestrator.workload.synthetic import SYSTEM_PROMPT_IDS, SYSTEM_PROMPT_TOKENS
from orchestrator.workload.traffic import Arrival, Traffic

REPLICAS = 4
AGENTS = 40
CHAT_S = 0.1  # between two questions


def skewed(seed: int) -> Traffic:
    """In turn over the replicas, the first of every four is an agent: all meet on one."""
    random = Random(seed)
    arrivals = []
    for number in range(320):
        is_agent = number % REPLICAS == 0 and number < AGENTS * REPLICAS
        arrivals.append(agent(random, number) if is_agent else question(random, number))
    return Traffic(tuple(arrivals), 16)


def agent(random: Random, number: int) -> Arrival:
    return Arrival(
        number=number,
        arrival_ns=int(number * CHAT_S * NS_PER_S),
        input_tokens=random.randint(400, 800),
        output_tokens=random.randint(1500, 2500),
        tag="agent",
    )


def question(random: Random, number: int) -> Arrival:
    return Arrival(
        number=number,
        arrival_ns=int(number * CHAT_S * NS_PER_S),
        input_tokens=SYSTEM_PROMPT_TOKENS + random.randint(20, 200),
        output_tokens=random.randint(20, 60),
        block_ids=SYSTEM_PROMPT_IDS,
        tag="chat",
    )


def run(seed: int, *, rebalance: bool) -> History:
    config = WorldConfig(
        replicas=REPLICAS,
        blocks=1600,
        policy="round-robin",
        seed=seed,
        control_planes=1,
        rebalance=rebalance,
        # 16 tokens of an 8B model, 2 MiB, at 10 Gbit/s.
        block_ns=1_700_000,
    )
    return simulate(config, skewed(seed), Checkers(every_steps=500))
