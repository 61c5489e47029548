"""The gRPC front door: protos/inference.proto over grpc.aio.

Translates and nothing else. A call's deadline is the request's deadline; a
call that ends, for whatever reason, ends its request.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from orchestrator.gateway.ask import (
    MESSAGES_MAX,
    MODEL_CHARACTERS_MAX,
    REQUEST_ID_CHARACTERS_MAX,
    SALT_CHARACTERS_MAX,
    Ask,
    Conversation,
    Options,
    Prompt,
    Role,
    Text,
    Tokens,
    class_named,
    invalid,
    tenant_named,
    trained_role,
)
from orchestrator.gateway.caller import Caller
from orchestrator.gateway.choice import Piece
from orchestrator.gateway.errors import NotFound
from orchestrator.gateway.explain import Explanation
from orchestrator.gateway.generation import Generation
from orchestrator.gateway.grant import grant
from orchestrator.gateway.grpc_errors import NO_REQUEST, Context, errors_as_status
from orchestrator.gateway.grpc_keys import current_caller
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.request_ids import (
    chosen_name,
    is_name,
    new_request_id,
    scoped_request_id,
)
from orchestrator.gateway.resumption import Resumption, decode_origin
from orchestrator.gateway.service import Gateway
from orchestrator.gateway.stall import Writer
from orchestrator.gateway.structured import of_choice, of_lark, of_regex, of_schema_text
from protos import inference_pb2 as pb
from protos import inference_pb2_grpc
from protos.messages import ModelCard, RequestClass, RequestId
from protos.trace import TRACEPARENT, TraceContext, parse_traceparent

NS_PER_S = 1_000_000_000

_ROLES = get_args(Role)


class InferenceService(inference_pb2_grpc.InferenceServicer):
    """Generate, Cancel, Explain and ListModels over one gateway."""

    def __init__(self, gateway: Gateway, limits: RateLimits) -> None:
        self._gateway = gateway
        self._limits = limits

    # Writes instead of yields: a request that is ended from elsewhere may be waiting to
    # send, and a wait inside `yield` is grpc.aio's, where cancelling would end nothing.
    async def Generate(self, request: pb.GenerateRequest, context: Context) -> None:
        arrived_ns = self._gateway.clock.now_ns()
        deadline_ns = _deadline_ns(arrived_ns, context.time_remaining())
        caller = current_caller()
        meter = self._limits.meter(caller)
        request_id = _own_id(request, caller)
        async with errors_as_status(context, request_id):
            await meter.begin()
            run = self._gateway.run(
                replace(_ask(request, request_id, caller), trace=_trace(context)),
                arrived_ns=arrived_ns,
                deadline_ns=deadline_ns,
                resumption=_resumption(request),
                meter=meter,
            )
            writer: Writer[pb.GenerateEvent] = Writer(context.write)
            async with writer.while_read(), run as generation:
                context.set_trailing_metadata(tuple(meter.headers().items()))
                await writer.write(_started(generation, caller))
                async for piece in generation:
                    if (piece.tokens or piece.text) and not piece.is_known:
                        await writer.write(_chunk(piece))
                    if piece.finish is not None:
                        await writer.write(_finished(piece.choice, piece.finish.value))
                await writer.write(_usage(generation))

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        async with errors_as_status(context, request.request_id):
            found = self._gateway.cancel(RequestId(request.request_id), current_caller())
        return pb.CancelResponse(found=found)

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        request_id = RequestId(request.request_id)
        async with errors_as_status(context, request_id):
            explanation = self._gateway.explain(request_id, current_caller())
            if explanation is None:
                raise NotFound(
                    f"no request {request_id!r} is among this gateway's last ones",
                    code="request_not_found",
                    param="request_id",
                )
        return _explanation(explanation)

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        async with errors_as_status(context, NO_REQUEST):
            card = self._gateway.card()
        return pb.ListModelsResponse(models=[] if card is None else [_model(card)])


def _own_id(request: pb.GenerateRequest, caller: Caller) -> RequestId:
    if not request.request_id:
        return new_request_id()
    return scoped_request_id(request.request_id, caller)


def _ask(request: pb.GenerateRequest, request_id: RequestId, caller: Caller) -> Ask:
    """Raises InvalidRequest, Forbidden."""
    if request.request_id and not is_name(request.request_id):
        raise invalid(
            "request_id",
            f"must have at most {REQUEST_ID_CHARACTERS_MAX} ASCII letters, digits and . _ : / -",
        )
    if len(request.cache_salt) > SALT_CHARACTERS_MAX:
        raise invalid("cache_salt", f"is longer than {SALT_CHARACTERS_MAX} characters")
    if len(request.model) > MODEL_CHARACTERS_MAX:
        raise invalid("model", f"is longer than {MODEL_CHARACTERS_MAX} characters")
    options = _options(request.sampling)
    options.check("sampling.")
    granted = grant(
        caller,
        request_class=_class(request),
        tenant=tenant_named(request.tenant, param="tenant"),
        salt=request.cache_salt.encode(),
    )
    return Ask(
        request_id=request_id,
        prompt=_prompt(request),
        options=options,
        model=request.model or None,
        salt=granted.salt,
        request_class=granted.request_class,
        tenant=granted.tenant,
    )


def _resumption(request: pb.GenerateRequest) -> Resumption | None:
    """What the client has of an answer that it asks for again. Raises InvalidRequest."""
    choices = request.sampling.n or 1
    if not request.resume_token:
        if request.resumed_tokens or request.resumed_finished:
            raise invalid("resumed_tokens", "is allowed only together with resume_token")
        return None
    if len(request.resumed_tokens) != choices:
        raise invalid("resumed_tokens", f"must have a number for each choice, here {choices}")
    if any(choice >= choices for choice in request.resumed_finished):
        raise invalid("resumed_finished", f"must name choices below {choices}")
    return Resumption(
        decode_origin(request.resume_token, param="resume_token"),
        tuple(request.resumed_tokens),
        frozenset(request.resumed_finished),
        "resume_token",
    )


def _class(request: pb.GenerateRequest) -> RequestClass | None:
    if not request.request_class:
        return None
    return class_named(request.request_class, param="request_class")


def _prompt(request: pb.GenerateRequest) -> Prompt:
    match request.WhichOneof("input"):
        case "text":
            return Text(request.text)
        case "token_ids":
            return Tokens(tuple(request.token_ids.ids))
        case "conversation":
            return _conversation(request.conversation)
        case _:
            raise invalid("input", "is required", code="missing_required_parameter")


def _conversation(conversation: pb.Conversation) -> Conversation:
    if not conversation.messages:
        raise invalid("conversation.messages", "is empty", code="empty_prompt")
    if len(conversation.messages) > MESSAGES_MAX:
        raise invalid("conversation.messages", f"has more than {MESSAGES_MAX} messages")
    for place, message in enumerate(conversation.messages):
        if message.role not in _ROLES:
            raise invalid(
                f"conversation.messages[{place}].role", f"must be one of {sorted(_ROLES)}"
            )
    return Conversation(
        tuple(
            {
                "role": trained_role(message.role),
                "content": message.content,
            }
            for message in conversation.messages
        )
    )


def _options(sampling: pb.SamplingOptions) -> Options:
    """What was set, and our defaults for the rest."""
    given = {
        descriptor.name: value
        for descriptor, value in sampling.ListFields()
        if descriptor.name not in ("stop", "stop_token_ids", "structure")
    }
    return Options(
        **given,
        stop=tuple(sampling.stop),
        stop_token_ids=tuple(sampling.stop_token_ids),
        grammar=_grammar(sampling.structure) if sampling.HasField("structure") else "",
    )


def _grammar(structure: pb.Structure) -> str:
    """Raises InvalidRequest."""
    param = "sampling.structure"
    match structure.WhichOneof("kind"):
        case "json_schema":
            return of_schema_text(structure.json_schema, f"{param}.json_schema")
        case "regex":
            return of_regex(structure.regex, f"{param}.regex")
        case "choice":
            return of_choice(list(structure.choice.texts), f"{param}.choice")
        case "grammar":
            return of_lark(structure.grammar, f"{param}.grammar")
        case _:
            raise invalid(param, "must have a kind", code="missing_required_parameter")


def _trace(context: Context) -> TraceContext | None:
    """What its client says that the call belongs to."""
    for key, value in context.invocation_metadata() or ():
        if key == TRACEPARENT and isinstance(value, str):
            return parse_traceparent(value)
    return None


def _deadline_ns(arrived_ns: int, remaining_s: float | None) -> int | None:
    return None if remaining_s is None else arrived_ns + int(remaining_s * NS_PER_S)


def _model(card: ModelCard) -> pb.Model:
    return pb.Model(
        id=card.name, context_tokens_max=card.context_tokens_max, block_size=card.block_size
    )


def _explanation(told: Explanation) -> pb.ExplainResponse:
    timeline = [
        pb.TimelineEntry(
            at_ms=entry.at_ms,
            lasted_ms=entry.lasted_ms,
            what=entry.what,
            choice=entry.choice,
            replica=entry.replica,
            words=entry.words,
        )
        for entry in told.timeline
    ]
    return pb.ExplainResponse(
        request_id=told.request_id,
        state=told.state,
        outcome=told.outcome or "",
        replica=told.replica or "",
        reason=told.reason or "",
        trace_id=told.trace_id or "",
        words=told.words,
        timeline=timeline,
    )


def _started(generation: Generation, caller: Caller) -> pb.GenerateEvent:
    return pb.GenerateEvent(
        started=pb.Started(
            request_id=chosen_name(generation.request_id, caller),
            model=generation.card.name,
            replica=generation.replica_id,
            prompt_tokens=generation.prompt_tokens,
            hit_tokens=generation.hit_tokens,
            resume_token=generation.origin(created=0).encode(),
        )
    )


def _chunk(piece: Piece) -> pb.GenerateEvent:
    tokens = [
        pb.Token(
            id=sampled.token,
            logprob=sampled.logprob,
            top=[pb.TokenLogprob(id=token, logprob=logprob) for token, logprob in sampled.top],
        )
        for sampled in piece.tokens
    ]
    return pb.GenerateEvent(
        chunk=pb.TokenChunk(
            choice=piece.choice, first_index=piece.first_index, tokens=tokens, text=piece.text
        )
    )


def _finished(choice: int, reason: str) -> pb.GenerateEvent:
    return pb.GenerateEvent(finished=pb.Finished(choice=choice, reason=reason))


def _usage(generation: Generation) -> pb.GenerateEvent:
    return pb.GenerateEvent(
        usage=pb.Usage(
            prompt_tokens=generation.prompt_tokens,
            completion_tokens=generation.completion_tokens,
            hit_tokens=generation.hit_tokens,
        )
    )
