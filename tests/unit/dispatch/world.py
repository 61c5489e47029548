"""A gateway's inner half with scripted replicas: the request path without a network.

A scripted replica answers each request and each claim as its next `Answer` says
(by default: well), keeps a plain account of blocks, and reports after every
change. The token of a choice at an index is the same on every replica. What it
moves away waits at the target until it is adopted, or for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from zlib import crc32

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.control.seams import LossReason, ReplicaLost, ReplicaRefused
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.own_model import OwnModel
from orchestrator.gateway.told import choices_of
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from protos.hashing import BlockHash, block_hashes
from protos.messages import (
    Delta,
    FinishReason,
    Handoff,
    ModelCard,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SamplingParams,
    Snapshot,
)
from protos.registry import BlockBatch, Member, Membership, RegistryUnavailable, ReplicaRecord
from tests.unit.dispatch.virtual_time import LoopClock

CARD = ModelCard("toy", "r1", "float32", block_size=16, context_tokens_max=4096, vocab_size=1000)


@dataclass(frozen=True, slots=True)
class Leave:
    """A replica gives choices away."""

    before: int  # the token index that is due
    choice: int | None = None  # None: every one; before the first token, all as one
    target: str | None = None  # None: handed back
    arrives: bool = True  # at the target; else it is gone by the time somebody asks


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica does with one request, or with one claim."""

    refusal: RefusalReason | None = None
    lost_before: int | None = None  # the token index at which the replica is lost
    lost_how: LossReason = LossReason.BROKEN
    lost_choice: int | None = None  # the choice whose token of this index was due; None: any
    dies: bool = False  # when it is lost, its link breaks too
    skipped: int | None = None  # a token index that is never sent
    ends_before: int | None = None  # the token index at which the stream just stops
    first_after_s: float = 0.01
    leaves: tuple[Leave, ...] = ()
    hit_tokens: int = 0


WELL = Answer()


class ScriptedReplica:
    """ReplicaClient in memory."""

    def __init__(
        self, name: str, *answers: Answer, blocks_total: int = 100, card: ModelCard = CARD
    ) -> None:
        self.record = ReplicaRecord(ReplicaId(name), f"{name}:1", card, blocks_total)
        self.answers = list(answers)
        self.asked: list[Request] = []  # every request that arrived
        self.claims: list[tuple[RequestId, int, int]] = []  # every claim: choice and next index
        self.parked: dict[tuple[RequestId, int], int] = {}  # what waits here, and how far it is
        self.peers: Mapping[str, ScriptedReplica] = {}
        self.cancelled: list[RequestId] = []
        self.is_up = True
        self.is_draining = False
        self.closed = 0
        self.epoch = 1
        self._number = 0
        self._runs = 0
        self._blocks: dict[int, int] = {}  # by run
        self._on_change: Callable[[], None] = lambda: None

    @property
    def served(self) -> list[RequestId]:
        return [request.request_id for request in self.asked]

    def connect(self, on_change: Callable[[], None]) -> ScriptedReplica:
        self._on_change = on_change
        return self

    def report(self) -> None:
        self._number += 1
        self._on_change()

    def break_link(self) -> None:
        self.is_up = False
        self._on_change()

    def snapshot(self) -> Snapshot | None:
        if not self.is_up:
            return None
        used = sum(self._blocks.values())
        return Snapshot(
            replica_id=self.record.replica_id,
            epoch=self.epoch,
            number=self._number,
            blocks_total=self.record.blocks_total,
            blocks_free=self.record.blocks_total - used,
            blocks_cached=0,
            blocks_used=used,
            sequences_running=len(self._blocks),
            sequences_waiting=0,
            prefill_tokens_waiting=0,
            blocks_waiting=0,
            draining=self.is_draining,
            step_ns=10_000_000,
        )

    async def submit(self, request: Request) -> AsyncGenerator[Delta | Handoff, None]:
        self.asked.append(request)
        answer = self._next_answer()
        if answer.refusal is not None:
            await asyncio.sleep(answer.first_after_s)
            raise ReplicaRefused(Refusal(request.request_id, answer.refusal, "no"))
        starts = dict.fromkeys(choices_of(request), len(request.output))
        async with aclosing(self._run(request, starts, answer)) as events:
            async for event in events:
                yield event

    async def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta | Handoff, None]:
        self.claims.append((request.request_id, choice, next_index))
        if not self.is_up:
            raise ReplicaLost(LossReason.UNREACHABLE)
        said = self.parked.pop((request.request_id, choice), None)
        answer = WELL if said is None else self._next_answer()
        if said is None or answer.refusal is not None:
            await asyncio.sleep(0.001)
            refusal = Refusal(request.request_id, RefusalReason.GONE, "not here", choice)
            raise ReplicaRefused(refusal)
        tokens = tuple(SampledToken(100 * choice + index) for index in range(next_index, said))
        first = Delta(request.request_id, choice, next_index, tokens)
        async with aclosing(self._run(request, {choice: said}, answer, first)) as events:
            async for event in events:
                yield event

    def _next_answer(self) -> Answer:
        return self.answers.pop(0) if self.answers else WELL

    async def _run(
        self,
        request: Request,
        next_index: dict[int, int],
        answer: Answer,
        first: Delta | None = None,
    ) -> AsyncGenerator[Delta | Handoff, None]:
        """Choices, each from its own index on, after what comes at once."""
        self._runs += 1
        run = self._runs
        self._blocks[run] = -(-request.given_tokens // CARD.block_size)
        self.report()
        try:
            if first is not None:
                yield first
            await asyncio.sleep(answer.first_after_s)
            while next_index:
                for choice, index in list(next_index.items()):
                    if leave := self._leave(answer, index, choice):
                        choices = len(next_index) if index == 0 and leave.choice is None else 1
                        for left in range(choice, choice + choices):
                            self._give(request, left, next_index.pop(left), leave)
                        target = None if leave.target is None else ReplicaId(leave.target)
                        yield Handoff(request.request_id, choice, choices, target)
                        if choices > 1:
                            break
                        continue
                    if not self.is_up or self._ends(answer, index, choice):
                        next_index.clear()
                        if answer.ends_before is not None:
                            return
                        raise ReplicaLost(answer.lost_how)
                    next_index[choice] += 1
                    if next_index[choice] == request.sampling.tokens_max:
                        del next_index[choice]
                    if index != answer.skipped:
                        said = delta(request, index, choice)
                        yield replace(said, hit_tokens=answer.hit_tokens)
                await asyncio.sleep(0.01)
        finally:
            del self._blocks[run]
            if next_index:
                self.cancelled.append(request.request_id)
            self.report()

    def _ends(self, answer: Answer, index: int, choice: int) -> bool:
        """Whether something ends here that was not to end yet."""
        if index == answer.lost_before and answer.lost_choice in (None, choice):
            if answer.dies:
                self.break_link()
            return True
        return index == answer.ends_before

    def _leave(self, answer: Answer, index: int, choice: int) -> Leave | None:
        due = (x for x in answer.leaves if x.before == index and x.choice in (None, choice))
        return next(due, None)

    def _give(self, request: Request, choice: int, index: int, leave: Leave) -> None:
        if leave.target is not None and leave.arrives and leave.target in self.peers:
            self.peers[leave.target].parked[request.request_id, choice] = index

    def let_go(self) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1


def delta(request: Request, index: int, choice: int = 0) -> Delta:
    finish = FinishReason.LENGTH if index == request.sampling.tokens_max - 1 else None
    token = SampledToken(100 * choice + index)
    return Delta(request.request_id, choice, index, (token,), finish, hit_tokens=0)


def request(
    name: str = "r",
    *,
    prompt_tokens: int = 64,
    tokens_max: int = 4,
    token_first: int | None = None,
    choices: int = 1,
) -> Request:
    """Requests of two names have no beginning in common, unless they are given one."""
    first = crc32(name.encode()) >> 4 if token_first is None else token_first
    prompt = tuple(range(first, first + prompt_tokens))
    return Request(RequestId(name), prompt, SamplingParams(tokens_max=tokens_max), choices)


class FlakyRegistry(MemoryRegistry):
    """A registry that can be missing: refusing at once, or silent."""

    def __init__(self, now_ns: Callable[[], int], config: RegistryConfig) -> None:
        super().__init__(now_ns, config)
        self.is_down = False
        self.is_silent = False
        self.asked = 0

    async def members(self) -> tuple[Member, ...]:
        await self._reach()
        return await super().members()

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        self.asked += 1
        await self._reach()
        return await super().locate(hashes)

    async def _reach(self) -> None:
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_down:
            raise RegistryUnavailable


@dataclass(slots=True)
class World:
    """Everything around one dispatch."""

    registry: FlakyRegistry
    cluster: Cluster
    fleet: Fleet
    dispatch: Dispatch
    links: dict[str, ScriptedReplica]  # what connecting to a replica id leads to
    memberships: dict[str, Membership] = field(default_factory=dict)

    async def join(self, replica: ScriptedReplica) -> None:
        membership = await self.registry.join(replica.record)
        replica.epoch = membership.epoch
        self.memberships[replica.record.replica_id] = membership
        replica.report()

    async def hold(self, name: str, prompt: tuple[int, ...]) -> None:
        """Let the registry say that a replica holds all blocks of a prompt."""
        hashes = block_hashes(prompt, block_size=CARD.block_size, root=CARD.scope())
        batch = BlockBatch(0, stored=hashes, complete=True)
        assert await self.registry.publish(self.memberships[name], batch)


@asynccontextmanager
async def world(
    *replicas: ScriptedReplica,
    config: DispatchConfig | None = None,
    lease_ms: int = 10**9,
    model: OwnModel | None = None,
) -> AsyncIterator[World]:
    clock = LoopClock()
    registry = FlakyRegistry(clock.now_ns, RegistryConfig(lease_ms=lease_ms))
    links = {str(replica.record.replica_id): replica for replica in replicas}
    cluster = Cluster(ClusterConfig())
    fleet = Fleet(
        registry,
        lambda record, on_change: links[record.replica_id].connect(on_change),
        cluster,
        clock,
        FleetConfig(),
        model,
    )
    dispatch = Dispatch(fleet, cluster, registry, clock, config or DispatchConfig())
    made = World(registry, cluster, fleet, dispatch, links)
    for replica in replicas:
        replica.peers = links
        await made.join(replica)
    await fleet.start()
    reporting = asyncio.create_task(report_forever(replicas))
    try:
        yield made
    finally:
        reporting.cancel()
        await fleet.stop()


@asynccontextmanager
async def tidy(
    *replicas: ScriptedReplica, config: DispatchConfig | None = None
) -> AsyncIterator[World]:
    """A world that is left as it was found: no debit, nobody in the line, no request anywhere."""
    async with world(*replicas, config=config) as made:
        yield made
        assert list(made.cluster.debits) == []
        assert made.dispatch.waiting == 0
        for replica in replicas:
            snapshot = replica.snapshot()
            assert snapshot is None or snapshot.blocks_used == 0


async def tokens(made: World, what: Request) -> list[int]:
    async with await made.dispatch.start(what) as stream:
        return [sampled.token async for delta in stream for sampled in delta.tokens]


async def report_forever(replicas: Sequence[ScriptedReplica]) -> None:
    """Replicas report when nothing happens, too."""
    while True:
        await asyncio.sleep(0.5)
        for replica in replicas:
            replica.report()
