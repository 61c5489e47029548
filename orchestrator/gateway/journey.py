"""One request on its way through the gateway: where it stands and what it went through.

A journey ends with its replica. When that is lost after the first delta, each
choice that has not finished sets out on a journey of its own, a resumption,
in its request's old place in the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from orchestrator.control.seams import LossReason
from orchestrator.gateway.errors import GatewayError
from orchestrator.gateway.line import Ticket
from orchestrator.gateway.stream import Timing
from orchestrator.policy.view import Subject
from protos.hashing import BlockHash, block_hashes, reusable_blocks
from protos.messages import ModelCard, ReplicaId, Request
from protos.registry import Member

# After these the request itself may be what the replica died of.
SUSPICIOUS = frozenset({LossReason.BROKEN, LossReason.SILENT})
Life: TypeAlias = tuple[ReplicaId, int]  # a replica and its epoch: each is lost once


@dataclass(slots=True)
class Journey:
    """Owned by the one generator that follows it."""

    request: Request
    card: ModelCard  # of the replicas that may run it; its blocks are named under it
    ticket: Ticket
    arrived_ns: int
    hashed_ns: int
    patience_ends_ns: int
    deadline_ns: int | None
    hashes: tuple[BlockHash, ...]
    is_resumption: bool = False  # its client has the beginning of the answer
    victims: set[Life] = field(default_factory=set)  # lost under the request; shared by its choices
    sent_to: Member | None = None
    hits: Mapping[ReplicaId, int] = field(default_factory=dict)
    located_ns: int | None = None  # when the hits were learned
    locating_ns: int = 0  # time spent on learning them
    attempts: int = 0
    avoided: frozenset[ReplicaId] = frozenset()  # tried in vain
    error: GatewayError | None = None  # of the last attempt
    timing: Timing | None = None  # once its first delta is there

    @property
    def subject(self) -> Subject:
        """The request as policies see it."""
        request = self.request
        return Subject(
            request_id=request.request_id,
            prompt_tokens=request.given_tokens,
            tokens_max=request.sampling.tokens_max - len(request.output),
            choices=request.choices,
            block_size=self.card.block_size,
        )


def prefix_hashes(request: Request, card: ModelCard) -> tuple[BlockHash, ...]:
    """Names of the blocks that a replica may find instead of computing them."""
    usable = reusable_blocks(request.given_tokens, block_size=card.block_size)
    return block_hashes(
        (*request.prompt, *request.output)[: usable * card.block_size],
        block_size=card.block_size,
        root=card.scope(request.salt),
    )
