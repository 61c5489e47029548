"""Real replica processes with a real model die or hang in the middle of their answers.

Every answer must equal an undisturbed one token for token, log-probabilities
included: greedy and sampled, with penalties, with several choices, with stop
tokens that may not come too early.
"""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from orchestrator.control.cluster import Cluster, ClusterConfig
from orchestrator.control.seams import LossReason
from orchestrator.gateway.dispatch import Dispatch, DispatchConfig
from orchestrator.gateway.fleet import Fleet, FleetConfig
from orchestrator.gateway.link_config import LinkConfig
from orchestrator.live.clock import OsClock
from orchestrator.live.replica_client import GrpcReplicaClient
from protos.hashing import BlockHash
from protos.messages import (
    FinishReason,
    ModelCard,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    SamplingParams,
)
from protos.registry import Member, ReplicaRecord
from protos.transport import Transport
from replicas.model.loading import load_model
from replicas.model.source import resolve_model
from tests.integration.control.until import until
from tests.integration.replica.test_main import serving

BLOCKS = 512
BLOCK_SIZE = 16
TOKENS = 400  # a second or more after the first of them have come
PENALISED = SamplingParams(
    tokens_max=TOKENS,
    temperature=0.9,
    top_k=50,
    top_p=0.95,
    seed=7,
    repetition_penalty=1.1,
    presence_penalty=0.4,
    frequency_penalty=0.2,
    logprobs=2,
)
WISHES: Mapping[str, tuple[SamplingParams, int]] = {
    "greedy": (SamplingParams(tokens_max=TOKENS, temperature=0.0), 1),
    "sampled": (SamplingParams(tokens_max=TOKENS, seed=3), 1),
    "penalised": (PENALISED, 2),
    "stopping": (
        SamplingParams(
            tokens_max=TOKENS, tokens_min=150, seed=11, stop_token_ids=tuple(range(0, 259, 5))
        ),
        3,
    ),
}

Said = dict[int, tuple[list[SampledToken], FinishReason]]


@dataclass(frozen=True, slots=True)
class Listing:
    """A registry that knows who is there and nothing of what they hold."""

    listed: Sequence[Member]

    async def members(self) -> tuple[Member, ...]:
        return tuple(self.listed)

    async def locate(self, hashes: Sequence[BlockHash]) -> Mapping[ReplicaId, int]:
        return {}


@dataclass(frozen=True, slots=True)
class Gateway:
    """The inner half of a gateway and the processes behind it."""

    dispatch: Dispatch
    fleet: Fleet
    cluster: Cluster
    processes: Mapping[ReplicaId, Process]


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return load_model(resolve_model("tiny"), device="cpu", dtype="float32").card(BLOCK_SIZE)


@asynccontextmanager
async def gateway(card: ModelCard, *names: str) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(
            *(
                stack.enter_async_context(
                    serving("--model", "tiny", "--blocks", str(BLOCKS), "--replica-id", name)
                )
                for name in names
            )
        )
        members = [
            Member(ReplicaRecord(ReplicaId(name), address, card, BLOCKS), epoch=0, draining=False)
            for name, (_, address) in zip(names, started, strict=True)
        ]
        processes = {ReplicaId(n): p for n, (p, _) in zip(names, started, strict=True)}
        clock, cluster = OsClock(), Cluster(ClusterConfig())
        link = LinkConfig(silence_s_max=5.0)
        connect = partial(GrpcReplicaClient, config=link, transport=Transport())
        fleet = Fleet(Listing(members), connect, cluster, clock, FleetConfig())
        dispatch = Dispatch(fleet, cluster, Listing(members), clock, DispatchConfig())
        await fleet.start()
        stack.push_async_callback(fleet.stop)
        await until(lambda: len(fleet.view().accepting) == len(names), "every replica is linked")
        yield Gateway(dispatch, fleet, cluster, processes)
        assert list(cluster.debits) == []
        assert dispatch.waiting == 0


def asked(name: str, *, salt: bytes = b"") -> Request:
    sampling, choices = WISHES[name]
    prompt = tuple(range(40, 40 + 37))
    return Request(RequestId(f"{name} {salt!r}"), prompt, sampling, choices, salt)


@dataclass(slots=True)
class Reader:
    """Follows one answer; `began` is set once it is well under way."""

    began: asyncio.Event
    replica_id: ReplicaId | None = None
    heard: int = 0  # tokens of the choice that spoke last

    async def read(self, made: Gateway, what: Request) -> Said:
        tokens: dict[int, list[SampledToken]] = {choice: [] for choice in range(what.choices)}
        finishes: dict[int, FinishReason] = {}
        async with await made.dispatch.start(what) as stream:
            self.replica_id = stream.replica_id
            async for delta in stream:
                assert delta.first_index == len(tokens[delta.choice])
                tokens[delta.choice] += delta.tokens
                if delta.finish is not None:
                    finishes[delta.choice] = delta.finish
                self.heard = len(tokens[delta.choice])
                if self.heard > 20:
                    self.began.set()
        return {choice: (tokens[choice], finishes[choice]) for choice in tokens}


def assert_same(said: Said, undisturbed: Said) -> None:
    assert said.keys() == undisturbed.keys()
    for choice, (tokens, finish) in said.items():
        expected, expected_finish = undisturbed[choice]
        assert [t.token for t in tokens] == [t.token for t in expected]
        assert finish == expected_finish
        for token, like in zip(tokens, expected, strict=True):
            # Another batch may round differently, in the last of some seven digits.
            assert token.logprob == pytest.approx(like.logprob, abs=1e-4)
            assert [t for t, _ in token.top] == [t for t, _ in like.top]


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, LossReason.BROKEN), (signal.SIGSTOP, LossReason.SILENT)],
)
async def test_a_replica_that_is_gone_changes_no_token_of_any_answer(
    card: ModelCard, number: signal.Signals, reason: LossReason
) -> None:
    async with gateway(card, "a", "b") as made:
        expected = {name: await Reader(asyncio.Event()).read(made, asked(name)) for name in WISHES}
        readers = {name: Reader(asyncio.Event()) for name in WISHES}
        # Another salt: nothing of the undisturbed run's blocks is used.
        reading = {
            name: asyncio.create_task(reader.read(made, asked(name, salt=b"again")))
            for name, reader in readers.items()
        }
        await asyncio.gather(*(reader.began.wait() for reader in readers.values()))
        # Of whoever has most to say still: it will not have ended when its replica does.
        victim = min(readers.values(), key=lambda reader: reader.heard).replica_id
        assert victim is not None
        made.processes[victim].send_signal(number)
        said = {name: await task for name, task in reading.items()}
        for name in WISHES:
            assert_same(said[name], expected[name])
        assert made.dispatch.totals.streams_resumed[reason] >= 1
        assert made.dispatch.totals.streams_lost == 0
