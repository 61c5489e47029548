"""ReplicaData over grpc.aio: the transport of gateways' links.

Each attached stream is one link: a reader hands submissions, cancellations and
claims to `Links`, a writer sends what `Links` put into the outbox, and a
snapshot after a silence of one report interval. The first of reader, writer
and fault that ends, ends the stream, and every way out of it detaches the
link. How a stream ended cannot be told apart (a half-closed one looks like a
lost one): what ran on it is parked, unless the gateway itself was at fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from grpc import aio

from protos import control_pb2, control_pb2_grpc
from protos.convert import claim_from_proto, request_from_proto, step_events_to_proto
from protos.messages import RequestId
from replicas.shell.link import GatewayLink, LinkBroken, LinkFault
from replicas.shell.links import Links
from replicas.shell.race import race

Context: TypeAlias = "aio.ServicerContext[control_pb2.GatewayMessage, control_pb2.StepEvents]"

STATUS = {
    LinkFault.SLOW: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LinkFault.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    LinkFault.UNHEALTHY: grpc.StatusCode.INTERNAL,
}


class DataService(control_pb2_grpc.ReplicaDataServicer):
    """Serves Attach."""

    def __init__(self, links: Links, *, report_interval_ms: int) -> None:
        self._links = links
        self._report_s = report_interval_ms / 1000

    async def Attach(
        self, request_iterator: AsyncIterator[control_pb2.GatewayMessage], context: Context
    ) -> None:
        # Apart from the first message: a write that a fault interrupts would
        # otherwise hold it, and the status could not be sent.
        await context.send_initial_metadata(())
        link = self._links.attach()
        fault: LinkFault | None = None
        try:
            await race(
                link.broken(), self._write(link, context), self._read(link, request_iterator)
            )
        except LinkBroken as broken:
            fault = broken.fault
        finally:
            self._links.detach(link, park=fault is None)
        if fault is not None:  # sent last: a peer that does not read can hold it up
            await context.abort(STATUS[fault], fault.value)

    async def _read(
        self, link: GatewayLink, messages: AsyncIterator[control_pb2.GatewayMessage]
    ) -> None:
        """Returns when the gateway has ended its side."""
        async for message in messages:
            match message.WhichOneof("message"):
                case "submit":
                    self._links.submit(link, request_from_proto(message.submit))
                case "cancel":
                    cancel = message.cancel
                    self._links.cancel(link, RequestId(cancel.request_id), cancel.choice)
                case "adopt":
                    self._links.adopt(link, claim_from_proto(message.adopt))
                case _:
                    raise LinkBroken(LinkFault.MALFORMED)

    async def _write(self, link: GatewayLink, context: Context) -> None:
        """Returns when the link was finished and everything is sent."""
        while True:
            try:
                async with asyncio.timeout(self._report_s):
                    events = await link.get()
            except TimeoutError:
                events = self._links.news()
            if events is None:
                return
            await context.write(step_events_to_proto(events))
