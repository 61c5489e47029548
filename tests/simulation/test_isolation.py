"""Chats beside agents that ask for several times what the cluster can do.

The gateway keeps agents in its line, leaves chats some headroom and sends them
where agents would give way; the replica lets them go first. What is left is
the step that is under way when a chat arrives, so what agents' prompts may
fill of a step (`yielding_tokens_max`) bounds what they can cost a chat. It
runs on the very engines that we ship, for a CPU and for a GPU.

Power: with that bound as large as a GPU's step, 2,048, the ratio is 3.90.
"""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.report import ttfts
from orchestrator.sim.world import History, WorldConfig, simulate
from orchestrator.workload.quantiles import percentile
from orchestrator.workload.synthetic import chat, poisson
from orchestrator.workload.traffic import Arrival, Traffic, merged
from protos.messages import RequestClass
from replicas.engine.shipped import CPU_STEP, CUDA_STEP, StepSize

SECONDS = 15.0
BLOCK_SIZE = 16


def chats() -> list[Arrival]:
    return list(chat(Random(1), start_s=0, seconds=SECONDS, rate=6))


def agents(request_class: RequestClass) -> list[Arrival]:
    """Each holds some 150 blocks for some 5 s: about 30 at any time, where 5 fit."""
    random = Random(2)
    return [
        Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=random.randint(500, 4000),
            output_tokens=random.randint(200, 400),
            tag="agent",
            request_class=request_class,
        )
        for arrival_ns in poisson(random, start_s=0, seconds=SECONDS, rate=6)
    ]


def serve(step: StepSize, *streams: list[Arrival]) -> History:
    world = WorldConfig(
        replicas=1,
        blocks=800,
        cost_model=CostModel(step_tokens_max=step.tokens_max),
        sequences_max=step.sequences_max,
    )
    traffic = Traffic(merged(streams), BLOCK_SIZE)
    return simulate(world, traffic, Checkers(every_steps=100, every_answers=10))


def ttft_p99_s(history: History) -> float:
    """Of chats; one that got no answer counts as one that waited for ever."""
    answers = [o for o in history.outcomes if isinstance(o, Answered) and o.tag == "A"]
    refused = sum(not isinstance(o, Answered) and o.tag == "A" for o in history.outcomes)
    return percentile([*ttfts(answers), *[float("inf")] * refused], 99)


@pytest.mark.parametrize("step", [CPU_STEP, CUDA_STEP], ids=["cpu", "cuda"])
def test_agents_that_saturate_the_cluster_cost_chats_less_than_twice_their_ttft(
    step: StepSize,
) -> None:
    alone_s = ttft_p99_s(serve(step, chats()))
    history = serve(step, chats(), agents(RequestClass.AGENT))
    assert ttft_p99_s(history) <= 2 * alone_s
    during = [
        o
        for o in history.outcomes
        if isinstance(o, Answered) and o.tag == "agent" and o.last_ns < SECONDS * 1e9
    ]
    assert len(during) >= 5, "agents are served all the while"


def test_without_classes_the_same_agents_cost_chats_their_answers() -> None:
    alone_s = ttft_p99_s(serve(CUDA_STEP, chats()))
    beside = serve(CUDA_STEP, chats(), agents(RequestClass.INTERACTIVE))
    assert ttft_p99_s(beside) > 20 * alone_s
