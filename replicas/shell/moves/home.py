"""The replica that moves leave from and arrive at: what of it they touch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from protos.messages import ModelCard, ReplicaId
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.shell.links import Links

Answer = TypeVar("Answer")


class AtBoundary(Protocol):
    """Runs a job between two steps, as Stepper.at_boundary does."""

    async def __call__(self, job: Callable[[], Awaitable[Answer]]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Home:
    """Parts of one replica, which outlive every move."""

    replica_id: ReplicaId
    card: ModelCard
    engine: Engine
    executor: Executor
    links: Links
    at_boundary: AtBoundary
    work: asyncio.Event  # set whenever the engine was given something to do
    epoch: Callable[[], int]
