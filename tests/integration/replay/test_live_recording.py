"""What a live gateway decided, decided again from its recording: the same, call by call.

Real processes: a Valkey, replicas on paper behind gRPC that publish what they
were given, and the gateway's command. Requests share beginnings and come at the
same time, so that hits, debits and ties all decide something.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from orchestrator.gateway.tokenizer import load_tokenizer
from orchestrator.live.bench.child import Child
from orchestrator.live.bench.gateway_bench import gateway_words
from orchestrator.live.bench.paper_replicas import card_in_words
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.replay.recording import Decision, read_recording
from orchestrator.replay.replay import replay
from protos.messages import ModelCard
from replicas.model.source import resolve_model
from tests.unit.replay.test_recording import without_hits, without_queues
from tests.waiting import wait_for

ROUNDS, TOGETHER = 6, 10
SYSTEMS = [f"You are clerk {name}. " + "Answer in one word. " * 40 for name in ("A", "B", "C")]

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> list[Decision]:
    """Of sixty requests at a gateway with three replicas."""
    file = tmp_path_factory.mktemp("recording") / "placements.jsonl"
    source = resolve_model("tiny")
    vocabulary = load_tokenizer(source.path).vocab_size
    card = card_in_words(ModelCard(source.name, "paper", "none", 16, 4_096, vocabulary))
    paper = "orchestrator.live.bench.paper_replicas"
    with EmbeddedValkey() as server, Child(paper, server.url, "3", "5", card) as replicas:
        replicas.first_line()
        words = [*gateway_words("tiny", server.url), "--record", str(file)]
        with Child("orchestrator", *words) as gateway:
            url = gateway.first_line()
            wait_for(lambda: is_ready(url), within_s=60, what="the gateway has replicas")
            asyncio.run(ask_all(url))
    return list(read_recording(file))


def is_ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz", timeout=60).status_code == 200


async def ask_all(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for number in range(ROUNDS):
            await asyncio.gather(*(ask(client, number, place) for place in range(TOGETHER)))


async def ask(client: httpx.AsyncClient, number: int, place: int) -> None:
    body = {"prompt": f"{SYSTEMS[place % 3]} {number}.{place}", "max_tokens": 1 + place}
    answer = await client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text


def test_a_recorded_live_run_replays_to_identical_placements(decisions: list[Decision]) -> None:
    assert len(decisions) >= ROUNDS * TOGETHER
    placements = [decision.placement for decision in decisions if decision.placement is not None]
    # Something was at stake: several replicas, hits, and promises under way. (Which reasons
    # come up depends on whether this machine let the registry answer in time.)
    assert len({placement.replica_id for placement in placements}) > 1
    assert any(decision.hits for decision in decisions)
    assert any(
        replica.prefill_tokens_promised > 0
        for decision in decisions
        for replica in decision.view.replicas
    )
    replayed = replay(decisions)
    assert replayed.difference is None
    assert replayed.decisions == len(decisions)


@pytest.mark.parametrize("mutated", [without_hits, without_queues])
def test_a_policy_that_lost_a_term_differs_on_a_live_run(
    decisions: list[Decision], mutated: Any
) -> None:
    assert replay(decisions, mutated).difference is not None
