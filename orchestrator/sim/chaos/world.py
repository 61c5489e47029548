"""The simulator as a World: a cluster of the size of a laptop, in virtual time.

Same scenario and seed, same observation, to the last byte. Tokens depend on
what the blocks hold, every engine is checked as it runs, and at the end all
that is at rest: a rule of the servers that breaks is a sentence of the
observation, never a traceback.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from orchestrator.chaos.demand import BLOCK_SIZE, Due, demand, traffic
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.world import Observed
from orchestrator.sim.causes import told
from orchestrator.sim.chaos.clients import HearingClients, heard_of_none, spoken
from orchestrator.sim.chaos.rest import RestCheckers
from orchestrator.sim.chaos.strikes import Strikes, check_doable
from orchestrator.sim.clock import VirtualClock
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.exact_executor import completion
from orchestrator.sim.loop import NS_PER_S, VirtualTimeLoop
from orchestrator.sim.silence import silence
from orchestrator.sim.swarm.scenario import EAGER
from orchestrator.sim.world import SHELL, World, WorldConfig

# `blockyard bench engine --model tiny` on one of two cores: steps of 1.8, 3.1 and 6.4 ms for 1,
# 8 and 32 sequences, 15,000 prompt tokens a second.
LAPTOP = CostModel(
    step_ns=1_700_000,
    prefill_token_ns=70_000,
    prefill_doubles_at=4_000,
    decode_sequence_ns=130_000,
    kv_token_ns=100,
    step_tokens_max=256,
)
BLOCK_NS = 200_000  # of the tiny model, from process to process
CHECK_EVERY_STEPS = 20


class SimulatedCluster:
    """Builds a new world for each play."""

    def play(self, scenario: Scenario, seed: int, tell: Callable[[str], None]) -> Observed:
        check_doable(scenario.faults)
        dues = demand(scenario, seed)
        clients = HearingClients(
            dues, deadline_s=scenario.objectives.deadline_s, patience_s=scenario.patience_s
        )
        checkers = RestCheckers(every_steps=CHECK_EVERY_STEPS)
        strikes = Strikes(scenario.faults, seed, tell)
        config = config_of(scenario, seed, dues)
        broken: tuple[str, ...] = ()
        totals: Mapping[str, int] = {}
        seconds = 0.0
        with silence():
            try:
                totals, seconds = run(config, dues, checkers, clients, strikes)
            except Exception as error:
                broken = tuple(told(error))
        return Observed(
            heard=tuple(clients.heard.get(due.number) or heard_of_none(due) for due in dues),
            expected={due.number: expected(due) for due in dues},
            struck=tuple(strikes.struck),
            leaks=tuple(checkers.leaks),
            totals=totals,
            seconds=seconds,
            broken=broken,
            is_exact=True,
        )


@contextmanager
def simulated() -> Iterator[SimulatedCluster]:
    """The world that `--sim` plays in."""
    yield SimulatedCluster()


def config_of(scenario: Scenario, seed: int, dues: Sequence[Due]) -> WorldConfig:
    shape = scenario.shape
    return WorldConfig(
        replicas=shape.replicas,
        gateways=shape.gateways,
        control_planes=shape.control_planes,
        blocks=shape.blocks,
        block_size=BLOCK_SIZE,
        seed=seed,
        cost_model=LAPTOP,
        token_by_token=True,
        exact=True,
        deadly=frozenset(due.number for due in dues if due.is_poison),
        rebalance=True,
        rebalancing=EAGER,
        block_ns=BLOCK_NS,
        sequences_max=64,
        waiting_max=512,
        context_tokens_max=8192,
        shell=replace(SHELL, link_messages_max=1024),
        patience_s=scenario.objectives.deadline_s + 60.0,
    )


def run(
    config: WorldConfig,
    dues: Sequence[Due],
    checkers: RestCheckers,
    clients: HearingClients,
    strikes: Strikes,
) -> tuple[Mapping[str, int], float]:
    """From beginning to end: what the servers counted, and how long it took."""

    async def live() -> tuple[Mapping[str, int], float]:
        loop = cast(VirtualTimeLoop, asyncio.get_running_loop())
        world = World(config, VirtualClock(loop), checkers)
        history = await world.run(traffic(tuple(dues)), clients, strikes)
        counted = totals_of(world) + Counter(messages=history.messages)
        return dict(sorted(counted.items())), history.ended_ns / NS_PER_S

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(live())


def totals_of(world: World) -> Counter[str]:
    """Of all lives of all processes, those that were killed included."""
    counted: Counter[str] = Counter()
    for host in world.replicas:
        for life in host.ended:
            counters = life.replica.snapshot().counters
            counted["steps"] += counters.steps
            counted["preemptions"] += counters.preemptions
            counted["moves"] += counters.sequences_imported
    for gateway in world.gateways:
        for gateway_life in gateway.ended:
            totals = gateway_life.dispatch.totals
            counted["placements"] += totals.placed.total()
            counted["retries"] += totals.retried.total()
            counted["resumptions"] += totals.streams_resumed.total()
            counted["takeovers"] += totals.streams_taken_over
            counted["lookups_missed"] += totals.registry_missed
    return counted


def expected(due: Due) -> tuple[str, ...]:
    """What the request says undisturbed."""
    request = due.arrival.request(BLOCK_SIZE)
    count = request.sampling.tokens_max
    return tuple(
        spoken(completion(request, choice=choice, count=count)) for choice in range(request.choices)
    )
