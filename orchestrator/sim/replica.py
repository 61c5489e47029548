"""One simulated replica: the production engine, stepped in virtual time.

The loop is the live one in small: schedule, execute, apply, tell. Submissions
and cancellations reach the engine between `schedule` and `apply`, as the
engine allows. Gateways attach; each is told in one message a step what the
step brought to its requests, and the replica's state. An idle replica reports
now and then, as a live one does, since its silence would mean its death.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from orchestrator.control.seams import Clock
from orchestrator.sim.membership import RegistryLink
from orchestrator.sim.outbox import Outbox
from protos.messages import Refusal, Request, RequestId, Snapshot, StepEvents
from protos.registry import ReplicaRecord
from replicas.engine.engine import Engine
from replicas.engine.executor import Executor
from replicas.engine.step_times import StepTimes

REPORT_S = 0.25  # the live replica's longest silence


class Watcher(Protocol):
    """Looks at an engine after each of its steps."""

    def after_step(self, engine: Engine) -> None: ...


class Attachment:
    """One gateway's end at the replica."""

    def __init__(self, send: Callable[[StepEvents], None]) -> None:
        self.send = send
        self.outbox = Outbox()


class SimReplica:
    """Engine, executor and registry under one name. `run` once."""

    def __init__(
        self,
        record: ReplicaRecord,
        engine: Engine,
        executor: Executor,
        registry: RegistryLink,
        clock: Clock,
        watcher: Watcher | None = None,
    ) -> None:
        self.record = record
        self.engine = engine
        self._executor = executor
        self._registry = registry
        self._clock = clock
        self._watcher = watcher
        self._work = asyncio.Event()
        self._attachments: list[Attachment] = []
        self._owners: dict[RequestId, Attachment] = {}
        self._epoch = 0
        self._number = 0
        self._times = StepTimes()

    async def run(self) -> None:
        """Join the registry and serve until cancelled. A failed assertion ends it."""
        membership = await self._registry.join(self.record)
        self._epoch = membership.epoch
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._registry.renew_forever(membership))
            tasks.create_task(self._registry.publish_forever(membership))
            tasks.create_task(self._report_forever())
            tasks.create_task(self._step_forever())

    # ---- for links

    def attach(self, send: Callable[[StepEvents], None]) -> Attachment:
        """A new gateway; it hears from the replica at once."""
        attachment = Attachment(send)
        self._attachments.append(attachment)
        send(StepEvents((), (), self.snapshot()))
        return attachment

    def detach(self, attachment: Attachment) -> None:
        """Cancel what the gateway still runs and forget it."""
        owned = [request_id for request_id, owner in self._owners.items() if owner is attachment]
        for request_id in owned:
            self.cancel(request_id)
        self._attachments.remove(attachment)

    def submit(self, attachment: Attachment, request: Request) -> None:
        """Hand the request to the engine; a refusal is sent back."""
        refusal = self.engine.submit(request)
        if refusal is not None:
            self._refuse(attachment, refusal)
            return
        self._owners[request.request_id] = attachment
        self._work.set()

    def cancel(self, request_id: RequestId) -> None:
        """Stop the request. One that has just finished is ignored."""
        attachment = self._owners.pop(request_id, None)
        if attachment is not None:
            self.engine.cancel(request_id)
            attachment.outbox.drop(request_id)
            self._work.set()

    def snapshot(self) -> Snapshot:
        """The replica's state now, numbered."""
        snapshot = self.engine.snapshot(
            replica_id=self.record.replica_id,
            epoch=self._epoch,
            number=self._number,
            times=self._times,
        )
        self._number += 1
        return snapshot

    # ---- stepping

    async def _step_forever(self) -> None:
        while True:
            plan = self.engine.schedule()
            self._registry.announce(self.engine.block_events())
            if plan is None:
                self._work.clear()
                await self._work.wait()
                continue
            began_ns = self._clock.now_ns()
            deltas = self.engine.apply(await self._executor.execute(plan))
            self._times.add(plan, self._clock.now_ns() - began_ns)
            self._registry.announce(self.engine.block_events())
            for delta in deltas:
                owner = self._owners[delta.request_id]
                owner.outbox.add(delta)
                if delta.finish is not None:
                    del self._owners[delta.request_id]
            self._tell()
            if self._watcher is not None:
                self._watcher.after_step(self.engine)

    def _tell(self) -> None:
        snapshot = self.snapshot()
        for attachment in self._attachments:
            attachment.send(StepEvents(attachment.outbox.take(), (), snapshot))

    def _refuse(self, attachment: Attachment, refusal: Refusal) -> None:
        attachment.send(StepEvents((), (refusal,), self.snapshot()))

    async def _report_forever(self) -> None:
        while True:
            await self._clock.sleep(REPORT_S)
            if self.engine.is_idle:
                self._tell()
