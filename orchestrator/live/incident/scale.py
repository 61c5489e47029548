"""The incident in small, for a real model on one core: lengths, memory and rates of its own.

The common prompt is half as long as the simulated, questions and answers a
quarter, agents an eighth. Memory is less in proportion: a core computes ten
sequences at once hardly faster than one after another, where a GPU serves fifty
as fast as ten. So memory must bind at few sequences, or it never does.

The case is stated for a reference that can serve so many chats a second, with
paged memory and sharing. How many can be served here is measured, and rates,
phases, patience and objectives follow: a slow model or machine gets the same
load for its strength.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from orchestrator.sim.incident.figures import Objectives
from orchestrator.sim.incident.incident import Case
from orchestrator.sim.incident.models import PoolConfig
from orchestrator.sim.incident.workload import Load, Sizes, chat
from orchestrator.workload.traffic import Arrival, merged

# Found in the simulator, with the tiny model's costs on one core (1 ms a step, 0.08 ms a token
# of prefill, 0.18 ms a decode). The spike is more chat than contiguous memory can hold, and
# little enough that paged memory with sharing serves it even when all costs are 1.4 times as
# high, since two measurements on a busy machine lie that far apart.
REFERENCE = Case(
    load=Load(
        chat_rate=5.0,
        chat_spike=5.0,
        agent_rate=2.5,
        steady_s=9.0,
        spike_s=12.0,
        after_s=1.0,
        sizes=Sizes(
            prefix=300,
            question=(5, 100),
            chat_answer=(10, 75),
            agent_prompt=(12, 500),
            agent_answer=(100, 200),
        ),
    ),
    pool=PoolConfig(blocks=110, step_tokens_max=64, patience_ns=40_000_000),
    objectives=Objectives(ttft_s=0.3, tpot_s=0.010),
)
REFERENCE_CHATS_PER_S = 53.0
BURST = 60  # chats by which that is measured


def case_for(chats_per_s: float) -> Case:
    """The reference case, for a machine that serves so many chats a second."""
    pace = REFERENCE_CHATS_PER_S / chats_per_s
    load, pool, objectives = REFERENCE.load, REFERENCE.pool, REFERENCE.objectives
    return Case(
        load=replace(
            load,
            chat_rate=load.chat_rate / pace,
            agent_rate=load.agent_rate / pace,
            steady_s=load.steady_s * pace,
            spike_s=load.spike_s * pace,
            after_s=load.after_s * pace,
        ),
        pool=replace(pool, patience_ns=round(pool.patience_ns * pace)),
        objectives=Objectives(ttft_s=objectives.ttft_s * pace, tpot_s=objectives.tpot_s * pace),
    )


def burst() -> tuple[Arrival, ...]:
    """Chats that all come at once."""
    coming = chat(Random(0), REFERENCE.load.sizes, start_s=0, seconds=10, rate=10 * BURST)
    return merged([[replace(next(coming), arrival_ns=0) for _ in range(BURST)]])
