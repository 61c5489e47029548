"""The incident in small, for a real model on one core: lengths, memory and rates of its own.

The common prompt is half as long as the simulated, questions and answers a
quarter, agents a seventh. Memory is less in proportion: a core computes ten
sequences at once hardly faster than one after another, where a GPU serves fifty
as fast as ten. So memory must bind at few sequences, or it never does.

The case is stated for a reference, on which a typical step takes so long. How
long it takes here is measured, and rates, phases, patience and objectives
follow: a slow model or machine gets the same load for its strength.
"""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random
from statistics import median

from orchestrator.sim.incident.figures import Objectives
from orchestrator.sim.incident.incident import Case
from orchestrator.sim.incident.models import PoolConfig
from orchestrator.sim.incident.workload import Load, Sizes
from protos.messages import SamplingParams
from replicas.engine.plan import BlockId, Row, Sample, StepPlan
from replicas.serving.executor import Runner

# Found in the simulator, with the tiny model's costs on one core (1 ms a step, 0.08 ms a token
# of prefill, 0.18 ms a decode): the spike fills contiguous memory at about half of the chat
# that paged memory with sharing can serve.
REFERENCE = Case(
    load=Load(
        chat_rate=6.0,
        chat_spike=5.0,
        agent_rate=2.0,
        steady_s=9.0,
        spike_s=12.0,
        after_s=1.0,
        sizes=Sizes(
            prefix=300,
            question=(5, 100),
            chat_answer=(10, 75),
            agent_prompt=(12, 600),
            agent_answer=(100, 200),
        ),
    ),
    pool=PoolConfig(blocks=140, step_tokens_max=64, patience_ns=60_000_000),
    objectives=Objectives(ttft_s=0.3, tpot_s=0.010),
)
REFERENCE_STEP_NS = 7_500_000
# The typical step: a full one, among the sequences that run at once when memory is full.
DECODES, CONTEXT_TOKENS = 10, 250
REPEATS = 15


def case_for(step_ns: int) -> Case:
    """The reference case, for a machine on which its typical step takes so long."""
    pace = step_ns / REFERENCE_STEP_NS
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


def measured_step_ns(runner: Runner, vocab_size: int) -> int:
    """How much time a typical step takes here: the median of several."""
    plan = typical_step(REFERENCE.pool, vocab_size)
    runner.run(plan)  # the first allocates
    times_ns = []
    for _ in range(REPEATS):
        began_ns = time.process_time_ns()
        runner.run(plan)
        times_ns.append(time.process_time_ns() - began_ns)
    return round(median(times_ns))


def typical_step(pool: PoolConfig, vocab_size: int) -> StepPlan:
    """Decodes, and as much prefill as the budget leaves; their blocks overlap, which is no harm."""
    random = Random(0)
    greedy = SamplingParams(tokens_max=1, temperature=0.0)
    blocks = CONTEXT_TOKENS // pool.block_size + 1
    rows = []
    for number, size in enumerate([*[1] * DECODES, pool.step_tokens_max - DECODES]):
        tokens = tuple(random.choices(range(vocab_size), k=size))
        table = tuple(BlockId((number * blocks + n) % pool.blocks) for n in range(blocks))
        start = CONTEXT_TOKENS if size == 1 else 0
        rows.append(Row(tokens, start, table, (Sample(greedy, 0, tokens, ()),)))
    return StepPlan(copies=(), rows=tuple(rows))
