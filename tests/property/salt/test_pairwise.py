"""Of two requests with the same prompt, the second hits if and only if the salt is the same.

One walk through everything that looks for a prefix: the body that a client
sends, the tenant of its key, the gateway's prefix hashes, the registry and what
the gateway expects by its own placements, and the engine's cache. Salts come in
any order and repeat; they are empty, beginnings of one another, one tenant's
name run into another's salt, or anything at all. The shadow model is a set of
(tenant, salt): who was served before.

Salts are tested besides, path by path:
- engine: unit/engine/test_engine.py, property/engine (`a_salt_is_ignored` is planted there);
- registry, in memory and on Redis: conformance/registry/test_blocks.py;
- every front door's field, and the key's tenant: museum number 13, integration/gateway,
  integration/security/test_tenants.py, unit/gateway/test_grant.py;
- copies and moves of blocks between replicas: property/engine/test_copies.py and property/moves;
- that time shows no hit of another salt: integration/security/test_no_signal.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.gateway.ask import Tokens
from orchestrator.gateway.caller import ANYBODY, Caller
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.openai import completion_call
from orchestrator.gateway.record import Placed
from orchestrator.gateway.sender import with_sender
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.messages import (
    BlockStored,
    Delta,
    ReplicaId,
    Request,
    RequestId,
    SamplingParams,
    Snapshot,
)
from protos.registry import BlockBatch, Membership, ReplicaRecord
from tests.unit.dispatch.virtual_time import LoopClock, run
from tests.unit.engine import driver

CARD = driver.card()
REPLICA = ReplicaId("r")
PROMPT = tuple(range(33))  # eight full blocks and a token
BLOCKS = 8
Who = tuple[str | None, str]  # the tenant of a key, and a salt


class EngineReplica:
    """ReplicaClient over a real engine, which publishes what it has stored."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.engine = driver.engine(blocks=1_000)
        self._registry = registry
        self._membership: Membership | None = None
        self._batches = 0

    async def join(self) -> None:
        record = ReplicaRecord(REPLICA, "nowhere:1", CARD, 1_000)
        self._membership = await self._registry.join(record)

    def snapshot(self) -> Snapshot | None:
        return driver.report(self.engine)

    async def submit(self, request: Request) -> AsyncGenerator[Delta, None]:
        assert self.engine.submit(request) is None
        for delta in list(driver.run(self.engine)):
            yield delta

    async def publish(self) -> None:
        """All that the engine has stored since it did so last. Nothing is ever evicted here."""
        assert self._membership is not None, "it has joined"
        events = self.engine.block_events()
        stored = tuple(event.block_hash for event in events if isinstance(event, BlockStored))
        assert len(stored) == len(events)
        await self._registry.publish(self._membership, BlockBatch(self._batches, stored))
        self._batches += 1

    def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta, None]:
        raise AssertionError("nothing moves here")

    def let_go(self) -> None: ...

    async def close(self) -> None: ...


async def ask_all(order: list[Who], *, publishes: bool) -> list[tuple[int, int]]:
    """Blocks that the gateway counted on, and that the engine found, for each in turn."""
    clock = LoopClock()
    registry = MemoryRegistry(clock.now_ns, RegistryConfig(lease_ms=10**9))
    replica, cluster = EngineReplica(registry), Cluster(ClusterConfig())
    await replica.join()
    fleet = Fleet(registry, lambda _, __: replica, cluster, clock, FleetConfig())
    dispatch = Dispatch(fleet, cluster, registry, clock, DispatchConfig())
    await fleet.start()
    found = []
    for number, who in enumerate(order):
        request = requested(who, number)
        async with await dispatch.start(request) as stream:
            async for _ in stream:
                pass
        if publishes:
            await replica.publish()
        found.append((counted_on(dispatch, request), stream.hit_tokens // CARD.block_size))
    await fleet.stop()
    return found


def requested(who: Who, number: int) -> Request:
    """What comes of a body, with the salt in it, and the key that it came with."""
    tenant, salt = who
    caller = ANYBODY if tenant is None else Caller(tenant, tenant)
    call = completion_call({"prompt": list(PROMPT), "cache_salt": salt, "max_tokens": 1})
    call = with_sender(call, Headers({}), caller)
    (prompt,) = call.prompts
    assert isinstance(prompt, Tokens)
    name, sampling = RequestId(f"{number}"), SamplingParams(tokens_max=1)
    return Request(name, prompt.ids, sampling, salt=call.salt)


def counted_on(dispatch: Dispatch, request: Request) -> int:
    record = dispatch.decisions.of(request.request_id)
    assert record is not None
    (placed,) = (event for event in record.events if isinstance(event, Placed))
    hits: Mapping[ReplicaId, int] = placed.look.hits
    return hits.get(REPLICA, 0)


def expected(order: list[Who]) -> list[tuple[int, int]]:
    """The shadow model."""
    served: set[Who] = set()
    hits = []
    for who in order:
        hits.append((BLOCKS, BLOCKS) if who in served else (0, 0))
        served.add(who)
    return hits


# "acme" and "s" run into one another as "ac" and "mes" do, unless lengths are told apart.
TENANTS: tuple[str | None, ...] = (None, "acme", "ac")
SALTS = ("", "s", "sa", "sas", "mes", "acmes", "\0", "s\0", "é")
whos = st.tuples(st.sampled_from(TENANTS), st.sampled_from(SALTS) | st.text(max_size=8))


@pytest.mark.parametrize("publishes", [True, False], ids=["published", "expected by placements"])
@given(order=st.lists(whos, min_size=2, max_size=8))
@example(order=[(None, ""), (None, "s"), (None, ""), (None, "sa"), (None, "s")])
@example(order=[("acme", "s"), ("ac", "mes"), (None, "acmes"), ("acme", "s")])
@settings(deadline=None, max_examples=40)
def test_the_same_salt_hits_and_another_never(order: list[Who], publishes: bool) -> None:
    found = run(ask_all(order, publishes=publishes))
    if not publishes:  # what is to come may be counted on or not, but never a stranger's
        assert all(
            counted <= hit for (counted, _), (hit, _) in zip(found, expected(order), strict=True)
        )
        found = [(hit, hit) for _, hit in found]
    assert found == expected(order)


def test_each_salt_is_a_stranger_to_all_others() -> None:
    """All pairs: everybody asks once, and nobody finds anything; then all find their own."""
    everybody = list(product(TENANTS, SALTS))
    found = run(ask_all(everybody + everybody[::-1], publishes=True))
    assert found == [(0, 0)] * len(everybody) + [(BLOCKS, BLOCKS)] * len(everybody)
