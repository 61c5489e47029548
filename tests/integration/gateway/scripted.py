"""A replica that answers by a script, behind the real dispatch.

Its answers are bytes, which are tokens here: one delta for each, then a
finish. It can be told to refuse, to stop in the middle and wait, or to break,
and that something waits here for a gateway that adopts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from orchestrator.control.seams import ReplicaLost, ReplicaRefused
from protos.messages import (
    Delta,
    FinishReason,
    ModelCard,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestId,
    SampledToken,
    Snapshot,
)
from tests.unit.gateway.byte_model import END, VOCAB_SIZE

REPLICA = ReplicaId("scripted-1")
CARD = ModelCard(
    name="bytes",
    revision="r1",
    dtype="float32",
    block_size=16,
    context_tokens_max=4096,
    vocab_size=VOCAB_SIZE,
)
BLOCKS_TOTAL = 64  # a quarter of what the context would need


@dataclass
class ScriptedReplica:
    """ReplicaClient whose choice c answers with c full stops and `answer`."""

    answer: bytes = b"Hello!"
    hit_tokens: int = 0
    refusal: RefusalReason | None = None
    lost_after: int | None = None  # tokens, then the replica is gone
    losses_left: int | None = None  # then it stays; None: it is lost every time
    held_after: int | None = None  # tokens, then nothing until `release` is set
    release: asyncio.Event = field(default_factory=asyncio.Event)
    on_submit: Callable[[Request], None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    parked: dict[tuple[RequestId, int], int] = field(default_factory=dict)  # tokens said
    adopted: list[tuple[RequestId, int]] = field(default_factory=list)
    cancelled: int = 0  # requests that ended before their answer did
    is_let_go: bool = False  # its gateway leaves
    reports: int = 0
    is_up: bool = True

    def snapshot(self) -> Snapshot | None:
        if not self.is_up:
            return None
        self.reports += 1
        return Snapshot(
            replica_id=REPLICA,
            epoch=1,
            number=self.reports,
            blocks_total=BLOCKS_TOTAL,
            blocks_free=BLOCKS_TOTAL,
            blocks_cached=0,
            blocks_used=0,
            sequences_running=0,
            sequences_waiting=0,
            prefill_tokens_waiting=0,
            blocks_waiting=0,
            draining=False,
            step_ns=1_000_000,
        )

    async def submit(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        self.on_submit(request)
        if self.refusal is not None:
            raise ReplicaRefused(Refusal(request.request_id, self.refusal, "as the script says"))
        unfinished = set(range(request.first_choice, request.first_choice + request.choices))
        try:
            for index in range(len(request.output), request.sampling.tokens_max):
                await self._follow_script(index)
                for choice in sorted(unfinished):
                    delta = self._delta(request, choice, index)
                    if delta.finish is not None:
                        unfinished.remove(choice)
                    yield delta
        finally:
            self.cancelled += bool(unfinished)

    async def adopt(
        self, request: Request, *, choice: int, next_index: int
    ) -> AsyncGenerator[Delta, None]:
        said = self.parked.pop((request.request_id, choice), None)
        if said is None:
            refusal = Refusal(request.request_id, RefusalReason.GONE, "not here", choice)
            raise ReplicaRefused(refusal)
        self.adopted.append((request.request_id, choice))
        deltas = [self._delta(request, choice, index) for index in range(next_index, said)]
        finish = deltas[-1].finish if deltas else None
        tokens = tuple(token for delta in deltas for token in delta.tokens)
        yield Delta(request.request_id, choice, next_index, tokens, finish)
        index = said
        while finish is None:
            delta = self._delta(request, choice, index)
            finish, index = delta.finish, index + 1
            yield delta

    def let_go(self) -> None:
        self.is_let_go = True

    async def close(self) -> None:
        pass

    async def _follow_script(self, index: int) -> None:
        if index == self.held_after:
            await self.release.wait()
        if index == self.lost_after and self.losses_left != 0:
            self.losses_left = None if self.losses_left is None else self.losses_left - 1
            raise ReplicaLost

    def _delta(self, request: Request, choice: int, index: int) -> Delta:
        """The answer's next byte, or the end token after it, or the cut before that."""
        answer = b"." * choice + self.answer
        ends = index == len(answer)
        finish = FinishReason.STOP if ends else None
        if finish is None and index + 1 == request.sampling.tokens_max:
            finish = FinishReason.LENGTH
        return Delta(
            request_id=request.request_id,
            choice=choice,
            first_index=index,
            tokens=(sampled(END if ends else answer[index], request.sampling.logprobs),),
            finish=finish,
            hit_tokens=self.hit_tokens,
        )


def sampled(token: int, logprobs: int | None) -> SampledToken:
    if logprobs is None:
        return SampledToken(token)
    best = tuple((candidate, -0.5 - candidate) for candidate in range(65, 65 + logprobs))
    return SampledToken(token, -0.25, best)
