"""Whatever happens to requests, the request path gives everything back.

Goal: no outcome leaks a debit, a place in the line or a request at a replica,
nobody is forgotten in the line, and a stream that ends well has said every
token once, whatever it lost on its way. Method: any mixture of requests (patient
ones, cancelled ones, closed early), replica faults, moves that arrive or do
not, choices handed back, links that break and come back, and a registry that
is missing, in virtual time. Power: claiming from a wrong index, releasing the
debit only on success, leaving the line only when admitted, or not waking the
next one in `Line.leave` each fail here within a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.control.seams import LossReason
from orchestrator.gateway.dispatch import DispatchConfig
from orchestrator.gateway.errors import GatewayError
from orchestrator.policy.admit import AdmitConfig
from protos.messages import RefusalReason
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import WELL, Answer, Leave, ScriptedReplica, World, request, world

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Client:
    """One request and how its client behaves."""

    begins_s: float
    prompt_tokens: int
    tokens_max: int
    choices: int
    leaves_after_s: float | None  # cancels the call
    reads_max: int | None  # closes the stream after so many deltas
    patience_s: float | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that breaks and comes back."""

    begins_s: float
    lasts_s: float
    at: str  # a replica's name, or the registry


moments = st.floats(0.0, 3.0)
clients = st.builds(
    Client,
    begins_s=moments,
    prompt_tokens=st.integers(1, 1700),
    tokens_max=st.integers(1, 60),
    choices=st.sampled_from([1, 1, 2, 3]),
    leaves_after_s=st.none() | moments,
    reads_max=st.none() | st.integers(0, 5),
    patience_s=st.none() | moments,
)
answers = st.sampled_from(
    [
        WELL,
        Answer(first_after_s=1.0),
        Answer(lost_before=0),
        Answer(lost_before=3),
        Answer(lost_before=4, lost_choice=1, lost_how=LossReason.STOPPED),
        Answer(lost_before=5, dies=True),
        Answer(skipped=1),
        Answer(ends_before=0),
        Answer(leaves=(Leave(0),)),
        Answer(leaves=(Leave(1, 0, "a"), Leave(3, 1, "b"), Leave(3, 2))),
        Answer(leaves=(Leave(2, None, "b"),), lost_before=4),
        Answer(leaves=(Leave(2, None, "a"), Leave(4, 0)), first_after_s=0.5),
        Answer(leaves=(Leave(5, 0, "b", arrives=False), Leave(6, 1, "nowhere"))),
        *(Answer(refusal=reason) for reason in RefusalReason),
    ]
)
troubles = st.builds(
    Trouble, begins_s=moments, lasts_s=moments, at=st.sampled_from(["a", "b", "registry"])
)


async def behave(client: Client, name: str, made: World) -> None:
    """Live one client's life; a stream that is read to its end is complete."""
    await asyncio.sleep(client.begins_s)
    what = request(
        name,
        prompt_tokens=client.prompt_tokens,
        tokens_max=client.tokens_max,
        choices=client.choices,
    )
    now_ns = round(asyncio.get_running_loop().time() * SECOND)
    deadline_ns = None if client.patience_s is None else now_ns + int(client.patience_s * SECOND)
    try:
        async with (
            asyncio.timeout(client.leaves_after_s),
            await made.dispatch.start(what, deadline_ns=deadline_ns) as stream,
        ):
            seen = Counter[int]()
            async for delta in stream:
                for sampled in delta.tokens:
                    assert sampled.token == 100 * delta.choice + seen[delta.choice]
                    seen[delta.choice] += 1
                if client.reads_max is not None and seen.total() >= client.reads_max:
                    return
            assert seen == dict.fromkeys(range(client.choices), client.tokens_max)
    except (GatewayError, TimeoutError):
        pass


async def suffer(trouble: Trouble, made: World) -> None:
    await asyncio.sleep(trouble.begins_s)
    if trouble.at == "registry":
        made.registry.is_down = True
        await asyncio.sleep(trouble.lasts_s)
        made.registry.is_down = False
    else:
        made.links[trouble.at].break_link()
        await asyncio.sleep(trouble.lasts_s)
        made.links[trouble.at].is_up = True
        made.links[trouble.at].report()


@settings(deadline=None)
@given(
    st.lists(clients, min_size=1, max_size=12),
    st.lists(answers, max_size=6),
    st.lists(answers, max_size=6),
    st.lists(troubles, max_size=3),
)
def test_nothing_is_left_behind_whatever_happens(
    who: list[Client], of_a: list[Answer], of_b: list[Answer], what: list[Trouble]
) -> None:
    async def scenario() -> None:
        a, b = ScriptedReplica("a", *of_a), ScriptedReplica("b", *of_b)
        config = DispatchConfig(admit=AdmitConfig(queue_max=4), queue_ns_max=5 * SECOND)
        async with world(a, b, config=config) as made:
            lives = [behave(client, f"r{number}", made) for number, client in enumerate(who)]
            async with asyncio.timeout(60):
                await asyncio.gather(*lives, *(suffer(trouble, made) for trouble in what))
            assert list(made.cluster.debits) == []
            assert made.dispatch.waiting == 0
            for replica in (a, b):
                replica.is_up = True
                snapshot = replica.snapshot()
                assert snapshot is not None
                assert snapshot.blocks_used == 0

    run(scenario())
