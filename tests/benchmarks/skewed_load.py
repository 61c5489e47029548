"""All long agents on one replica, live: what rebalancing changes.

    python -m tests.benchmarks.skewed_load [--agents 8] [--rounds 1]

A cluster of real processes with the tiny model: replica b is cordoned until
every agent runs on a, whose blocks are too few for them; then b takes work
and short questions arrive at a steady pace until the agents are done. Once
without rebalancing and once with it, in pairs, on the same machine.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import quantiles

import click
from rich.console import Console
from rich.table import Table

from orchestrator.live import operator_client
from protos.messages import ReplicaId
from tests.integration.cluster.clients import Reader, body
from tests.integration.cluster.watched import Watched
from tests.waiting import wait_for

BLOCKS = 300  # of 16 tokens: three agents fit in the end
AGENT_TOKENS = 1200
QUESTION_S = 0.3
QUESTION_TOKENS = 16


@dataclass
class Outcome:
    """What one run showed."""

    rebalancing: bool
    ttft_s: list[float] = field(default_factory=list)  # of the questions
    agents_s: float = 0.0  # until the last agent was done
    preemptions: int = 0
    moved: int = 0


def run(*, rebalancing: bool, agents: int) -> Outcome:
    outcome = Outcome(rebalancing)
    with Watched(blocks=BLOCKS) as cluster, ThreadPoolExecutor(agents + 32) as pool:
        cluster.start(replicas=("a", "b"))
        control, url = cluster.control, cluster.gateways[0].address
        operator_client.set_policy(control, "enabled", "on" if rebalancing else "off")
        operator_client.cordon(control, ReplicaId("b"))
        wait_for(
            lambda: sum(s.snapshot.draining for s in cluster.states()) == 1,
            within_s=20,
            what="b takes no work",
        )
        began = time.monotonic()
        running = [pool.submit(ask_agent, url, number) for number in range(agents)]
        wait_for(
            lambda: len(cluster.sequences().get("a", ())) >= agents - 1,
            within_s=60,
            what="the agents on a",
        )
        operator_client.uncordon(control, ReplicaId("b"))
        done = threading.Event()
        asking = pool.submit(ask_until, done, url, pool)
        for agent in running:
            agent.result()
        outcome.agents_s = time.monotonic() - began
        done.set()
        outcome.ttft_s = [ttft.result() for ttft in asking.result()]
        cluster.wait_until_quiet()
        counters = [state.snapshot.counters for state in cluster.states()]
        outcome.preemptions = sum(c.preemptions for c in counters)
        outcome.moved = sum(c.sequences_imported for c in counters)
    return outcome


def ask_agent(url: str, number: int) -> str:
    asked = body(number, tokens=AGENT_TOKENS, prompt="A long story. " * 20, request_class="agent")
    return Reader(number, asked).read(url)


def ask_until(done: threading.Event, url: str, pool: ThreadPoolExecutor) -> list[Future[float]]:
    """Questions in flight, one after the other however long each takes."""
    asked: list[Future[float]] = []
    while not done.wait(QUESTION_S):
        asked.append(pool.submit(ttft, url, len(asked)))
    return asked


def ttft(url: str, number: int) -> float:
    began = time.monotonic()
    events = Reader(number, body(number, tokens=QUESTION_TOKENS)).events(url)
    next(events)
    first = time.monotonic() - began
    for _ in events:
        pass
    return first


@click.command()
@click.option("--agents", default=8, show_default=True)
@click.option("--rounds", default=1, show_default=True)
def main(agents: int, rounds: int) -> None:
    """Print the pairs side by side."""
    table = Table(title=f"{agents} agents on one replica of {BLOCKS} blocks, tiny model")
    for name in ("rebalancing", "TTFT p50 ms", "p99 ms", "preemptions", "moved", "agents done s"):
        table.add_column(name, justify="right")
    for _ in range(rounds):
        for rebalancing in (False, True):
            outcome = run(rebalancing=rebalancing, agents=agents)
            cuts = quantiles(outcome.ttft_s, n=100, method="inclusive")
            table.add_row(
                "on" if rebalancing else "off",
                f"{cuts[49] * 1e3:.0f}",
                f"{cuts[98] * 1e3:.0f}",
                str(outcome.preemptions),
                str(outcome.moved),
                f"{outcome.agents_s:.1f}",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
