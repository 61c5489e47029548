"""What both front doors share: the whole life of a request.

Prepare it (tokens), dispatch it (a replica), follow it (text), and count how
it ended, whichever way that was. Leaving `Gateway.run` ends the request at
its replica, so that a front door needs no clean-up of its own. This module
knows nothing of HTTP or gRPC, and they know nothing of replicas.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from secrets import token_hex
from typing import Any

from orchestrator.control.seams import Clock
from orchestrator.gateway.ask import Ask
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.dispatch import Dispatch
from orchestrator.gateway.dispatch_metrics import DispatchCollector
from orchestrator.gateway.errors import GatewayError, NoReplica
from orchestrator.gateway.explain import Explanation, explain
from orchestrator.gateway.generation import Generation
from orchestrator.gateway.meter import Meter
from orchestrator.gateway.metrics import CLIENT_GONE, FAILED, OK, GatewayMetrics
from orchestrator.gateway.preparation import prepare
from orchestrator.gateway.record import Record, ms
from orchestrator.gateway.request_ids import scoped_request_id
from orchestrator.gateway.request_spans import spans_of
from orchestrator.gateway.resumption import Resumption
from orchestrator.gateway.running import Running
from orchestrator.gateway.tokenizer import Tokenizer
from protos.logs import fields
from protos.messages import ModelCard, Request, RequestId
from protos.trace import UNTRACED, Tracing

log = logging.getLogger(__name__)

RETRY_WITHOUT_REPLICA_S = 2  # a cluster that starts has its first replica within seconds
RETRY_ELSEWHERE_S = 1  # another gateway, or this one's successor, is there at once


class Gateway:
    """One model's requests, over one dispatch."""

    def __init__(
        self,
        dispatch: Dispatch,
        tokenizer: Tokenizer,
        *,
        clock: Clock,
        metrics: GatewayMetrics,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self.clock = clock
        self.metrics = metrics
        self._dispatch = dispatch
        self._tokenizer = tokenizer
        self._tracing = tracing
        self._running = Running()
        self._is_closing = False
        metrics.registry.register(DispatchCollector(dispatch))

    def is_ready(self) -> bool:
        """Whether some replica takes work and this gateway still does."""
        return not self._is_closing and self._dispatch.is_ready()

    async def drain(self, timeout_s: float) -> None:
        """Not ready from now on; what runs may finish within the timeout, then it is ended.

        Its client is told to come again, and another gateway goes on with it
        where it waits: at its replica, which has not heard of an end.
        """
        self._is_closing = True
        if await self._running.finish(timeout_s):
            return
        self._dispatch.let_go()
        stopping = NoReplica(
            "this gateway is stopping", code="gateway_stopping", retry_after_s=RETRY_ELSEWHERE_S
        )
        self._running.end_all(stopping)

    def card(self) -> ModelCard | None:
        """The model served; None before a replica was seen."""
        return self._dispatch.card()

    def spell(self, token: int) -> bytes:
        """How a token is written, special ones included."""
        return self._tokenizer.spelled_bytes(token)

    def decisions(self, request_id: RequestId, caller: Caller) -> dict[str, Any] | None:
        """What was known and chosen for one of the last requests; None where it is unknown."""
        record = self._dispatch.decisions.of(request_id, caller)
        return None if record is None else record.to_json(caller)

    def explain(self, request_id: RequestId, caller: Caller) -> Explanation | None:
        """The story of one of the last requests, also one that runs; None where it is unknown."""
        record = self._dispatch.decisions.of(request_id, caller)
        return None if record is None else explain(record, self.clock, caller)

    def cancel(self, request_id: RequestId, caller: Caller) -> bool:
        """End a running request; False if there is none of this id that the caller may know of."""
        ids = (scoped_request_id(request_id, caller), request_id)
        return any(self._running.cancel(each, caller) for each in ids)

    @asynccontextmanager
    async def run(
        self,
        ask: Ask,
        *,
        arrived_ns: int,
        deadline_ns: int | None = None,
        resumption: Resumption | None = None,
        meter: Meter | None = None,
    ) -> AsyncIterator[Generation]:
        """Enters with the first token there. Raises GatewayErrors, before it and inside.

        With a `resumption` it goes on with what another gateway began; a
        `meter` is charged what the request uses.

        `arrived_ns` is when its first byte was here, `deadline_ns` when its
        client stops waiting, both on the gateway's clock.
        """
        outcome = FAILED
        if resumption is not None:
            ask = resumption.restored(ask)
        record = self._record(ask, arrived_ns)
        self.metrics.in_flight += 1
        generation: Generation | None = None
        try:
            request, card = await self._prepare(ask, resumption)
            prepare_ns = self.clock.now_ns() - arrived_ns
            if meter is not None:
                await meter.take_prompt(len(request.prompt))
            # Only now is it known that this client has asked the same before.
            if resumption is not None and not await self._running.supersede(
                ask.request_id, ask.tenant
            ):
                raise resumption.mismatch()
            async with (
                self._running.track(ask.request_id, ask.tenant),
                self._open(ask, request, card, deadline_ns, resumption, record) as generation,
            ):
                ttft_ns = self.clock.now_ns() - arrived_ns
                self._started(generation, prepare_ns=prepare_ns, ttft_ns=ttft_ns)
                yield generation
            outcome = OK
        except (asyncio.CancelledError, GeneratorExit):
            outcome = CLIENT_GONE
            raise
        except GatewayError as error:
            outcome = error.code
            raise
        finally:
            self.metrics.in_flight -= 1
            record.end(outcome)
            self._ended(record)
            if meter is not None and generation is not None:
                meter.ended(generation)

    def _record(self, ask: Ask, arrived_ns: int) -> Record:
        client = ask.trace
        return self._dispatch.decisions.open(
            ask.request_id,
            ask.request_class,
            ask.tenant,
            arrived_ns=arrived_ns,
            trace=self._tracing.begin(client, f"{ask.request_id} {token_hex(8)}".encode()),
            trace_parent=None if client is None else client.span_id,
        )

    def _ended(self, record: Record) -> None:
        assert record.ended_ns is not None and record.outcome is not None, "it has ended"
        e2e_ns = record.ended_ns - record.began_ns
        self.metrics.ended(record.outcome, record.request_class, e2e_ns=e2e_ns)
        self._tracing.export(spans_of(record))
        log.info("request ended", extra=about(record))

    async def _prepare(self, ask: Ask, resumption: Resumption | None) -> tuple[Request, ModelCard]:
        """What to dispatch, and under which card. Raises GatewayErrors."""
        card = self._dispatch.card()
        if card is None:
            raise NoReplica(
                "no replica of this gateway's model has joined yet",
                code="no_replica",
                retry_after_s=RETRY_WITHOUT_REPLICA_S,
            )
        request = await prepare(
            ask, card=card, tokenizer=self._tokenizer, pools=self._dispatch.pools()
        )
        if resumption is not None:
            resumption.check(request, ask.options.stop)
            card = replace(card, revision=resumption.origin.revision)
        return request, card

    @asynccontextmanager
    async def _open(
        self,
        ask: Ask,
        request: Request,
        card: ModelCard,
        deadline_ns: int | None,
        resumption: Resumption | None,
        record: Record,
    ) -> AsyncIterator[Generation]:
        if resumption is None:
            starting = self._dispatch.start(request, deadline_ns=deadline_ns, record=record)
        else:
            starting = self._dispatch.take_over(
                request,
                card,
                finished=resumption.finished,
                deadline_ns=deadline_ns,
                record=record,
            )
        async with await starting as stream:
            yield Generation(
                request,
                stream,
                stop=ask.options.stop,
                card=card,
                tokenizer=self._tokenizer,
                clock=self.clock,
                metrics=self.metrics.of(request.request_class),
                resumption=resumption,
            )

    def _started(self, generation: Generation, *, prepare_ns: int, ttft_ns: int) -> None:
        """The first token is there."""
        self.metrics.started(
            generation.timing,
            generation.request_class,
            prepare_ns=prepare_ns,
            ttft_ns=ttft_ns,
            prompt_tokens=generation.prompt_tokens,
            hit_tokens=generation.hit_tokens,
            attempts=generation.attempts,
        )


def about(record: Record) -> dict[str, Any]:
    """What a log line says of a request that has ended. Never its words."""
    ttft_ns = None if record.first_token_ns is None else record.first_token_ns - record.began_ns
    ended_ns = record.began_ns if record.ended_ns is None else record.ended_ns
    return fields(
        request_id=record.request_id,
        trace_id=record.trace_id,
        outcome=record.outcome,
        request_class=record.request_class.value,
        tenant=record.tenant or None,
        replica=record.replica_id,
        reason=record.reason,
        attempts=len(record.attempts),
        prompt_tokens=record.prompt_tokens,
        hit_tokens=record.hit_tokens,
        completion_tokens=record.completion_tokens,
        ttft_ms=None if ttft_ns is None else ms(ttft_ns),
        total_ms=ms(ended_ns - record.began_ns),
    )
