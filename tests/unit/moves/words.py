"""What machines of moves are told in tests: one request, a card, messages by the numbers."""

from __future__ import annotations

from protos.messages import ModelCard, ReplicaId, Request, RequestId, SampledToken, SamplingParams
from protos.moves import Blocks, Commit, MoveId, Reserve
from replicas.shell.moves.checksum import checksum
from replicas.shell.moves.inbound import Host

CARD = ModelCard("model", "1", "none", block_size=4, context_tokens_max=4096, vocab_size=99)
MOVE = MoveId("m")
EPOCH = 3
HOST = Host(CARD, EPOCH, is_open=True, is_busy=False)
BLOCK = bytes(10)  # a payload


def reserve(
    *, prompt_tokens: int = 40, output: tuple[int, ...] = (7,), epoch: int = EPOCH
) -> Reserve:
    prompt = tuple(range(prompt_tokens))
    request = Request(RequestId("r"), prompt, SamplingParams(tokens_max=50), output=output)
    return Reserve(MOVE, ReplicaId("source"), epoch, CARD, request)


def blocks(first: int, count: int, payload: bytes = BLOCK) -> Blocks:
    payloads = (payload,) * count
    return Blocks(MOVE, first, payloads, checksum(payloads))


def commit(*tokens: int, computed: int) -> Commit:
    return Commit(MOVE, tuple(map(SampledToken, tokens)), computed)
