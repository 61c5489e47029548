"""Chats beside agents that ask for several times what the cluster can do.

The gateway keeps agents in its line, leaves chats some headroom and sends them
where agents would give way; the replica lets them go first. What is left is
the step that is under way when a chat arrives, so the token budget of a step
bounds what agents can cost a chat.
"""

from __future__ import annotations

from random import Random

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered
from orchestrator.sim.cost_model import CostModel
from orchestrator.sim.report import ttfts
from orchestrator.sim.world import History, WorldConfig, simulate
from orchestrator.workload.quantiles import percentile
from orchestrator.workload.synthetic import chat, poisson
from orchestrator.workload.traffic import Arrival, Traffic, merged
from protos.messages import RequestClass

SECONDS = 15.0
BLOCK_SIZE = 16
WORLD = WorldConfig(replicas=1, blocks=800, cost_model=CostModel(step_tokens_max=512))


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


def serve(*streams: list[Arrival]) -> History:
    traffic = Traffic(merged(streams), BLOCK_SIZE)
    return simulate(WORLD, traffic, Checkers(every_steps=100, every_answers=10))


def ttft_p99_s(history: History) -> float:
    """Of chats; one that got no answer counts as one that waited for ever."""
    answers = [o for o in history.outcomes if isinstance(o, Answered) and o.tag == "A"]
    refused = sum(not isinstance(o, Answered) and o.tag == "A" for o in history.outcomes)
    return percentile([*ttfts(answers), *[float("inf")] * refused], 99)


def test_agents_that_saturate_the_cluster_cost_chats_less_than_twice_their_ttft() -> None:
    alone_s = ttft_p99_s(serve(chats()))
    beside_s = ttft_p99_s(serve(chats(), agents(RequestClass.AGENT)))
    assert beside_s <= 2 * alone_s


def test_without_classes_the_same_agents_cost_chats_their_answers() -> None:
    alone_s = ttft_p99_s(serve(chats()))
    assert ttft_p99_s(serve(chats(), agents(RequestClass.INTERACTIVE))) > 20 * alone_s


def test_agents_are_served_all_the_while() -> None:
    history = serve(chats(), agents(RequestClass.AGENT))
    during = [
        o
        for o in history.outcomes
        if isinstance(o, Answered) and o.tag == "agent" and o.last_ns < SECONDS * 1e9
    ]
    assert len(during) >= 5
