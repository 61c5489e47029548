"""Plain data to protobuf and back. The only file that sees both.

Every pair is `x_to_proto` and `x_from_proto`, and a round trip gives back an
equal value. Reading validates what the wire format cannot say: a word outside
a closed Enum, or alternatives without their log-probabilities, is a
ValueError whose message names the field. Whether a request makes sense is
not judged here; the engine refuses it with a reason.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

from protos import control_pb2 as pb
from protos.convert_totals import (
    copies_from_proto,
    copies_to_proto,
    totals_from_proto,
    totals_to_proto,
)
from protos.messages import (
    Account,
    CopySource,
    Delta,
    EngineCounters,
    FinishReason,
    Handoff,
    ModelCard,
    Refusal,
    RefusalReason,
    ReplicaId,
    Request,
    RequestClass,
    RequestId,
    SampledToken,
    SamplingParams,
    Snapshot,
    StepEvents,
)
from protos.moves import Claim
from protos.registry import ReplicaRecord

# Both sides have the same names.
COUNTERS = tuple(field.name for field in fields(EngineCounters))
PLAIN_TOKENS_MAX = 1 << 16  # remembered, of a vocabulary that may be larger

# ---- gateway to replica


def request_to_proto(request: Request) -> pb.Submit:
    return pb.Submit(
        request_id=request.request_id,
        prompt=request.prompt,
        sampling=sampling_to_proto(request.sampling),
        choices=request.choices,
        salt=request.salt,
        output=request.output,
        first_choice=request.first_choice,
        request_class=request.request_class.value,
        tenant=request.tenant,
        traceparent=request.traceparent,
        deadline_ms=request.deadline_ms,
        copy_from=_copy_source_to_proto(request.copy_from),
    )


def request_from_proto(message: pb.Submit) -> Request:
    return Request(
        request_id=RequestId(message.request_id),
        prompt=tuple(message.prompt),
        sampling=sampling_from_proto(message.sampling),
        choices=message.choices,
        salt=message.salt,
        output=tuple(message.output),
        first_choice=message.first_choice,
        request_class=_class_from_proto(message.request_class),
        tenant=message.tenant,
        traceparent=message.traceparent,
        deadline_ms=message.deadline_ms if message.HasField("deadline_ms") else None,
        copy_from=(
            _copy_source_from_proto(message.copy_from) if message.HasField("copy_from") else None
        ),
    )


def _copy_source_to_proto(source: CopySource | None) -> pb.CopySource | None:
    if source is None:
        return None
    return pb.CopySource(replica_id=source.replica_id, address=source.address, blocks=source.blocks)


def _copy_source_from_proto(message: pb.CopySource) -> CopySource:
    return CopySource(ReplicaId(message.replica_id), message.address, message.blocks)


def claim_to_proto(claim: Claim) -> pb.Claim:
    return pb.Claim(
        request_id=claim.request_id,
        choice=claim.choice,
        digest=claim.digest,
        next_index=claim.next_index,
    )


def claim_from_proto(message: pb.Claim) -> Claim:
    return Claim(
        request_id=RequestId(message.request_id),
        choice=message.choice,
        digest=message.digest,
        next_index=message.next_index,
    )


def sampling_to_proto(params: SamplingParams) -> pb.SamplingParams:
    return pb.SamplingParams(
        tokens_max=params.tokens_max,
        tokens_min=params.tokens_min,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        seed=params.seed,
        repetition_penalty=params.repetition_penalty,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        stop_token_ids=params.stop_token_ids,
        logprobs=params.logprobs,
        grammar=params.grammar,
    )


def sampling_from_proto(message: pb.SamplingParams) -> SamplingParams:
    return SamplingParams(
        tokens_max=message.tokens_max,
        tokens_min=message.tokens_min,
        temperature=message.temperature,
        top_k=message.top_k if message.HasField("top_k") else None,
        top_p=message.top_p,
        min_p=message.min_p,
        seed=message.seed,
        repetition_penalty=message.repetition_penalty,
        presence_penalty=message.presence_penalty,
        frequency_penalty=message.frequency_penalty,
        stop_token_ids=tuple(message.stop_token_ids),
        logprobs=message.logprobs if message.HasField("logprobs") else None,
        grammar=message.grammar,
    )


# ---- replica to gateway


def step_events_to_proto(events: StepEvents) -> pb.StepEvents:
    return pb.StepEvents(
        deltas=[delta_to_proto(delta) for delta in events.deltas],
        refusals=[refusal_to_proto(refusal) for refusal in events.refusals],
        snapshot=snapshot_to_proto(events.snapshot),
        handoffs=[handoff_to_proto(handoff) for handoff in events.handoffs],
    )


def step_events_from_proto(message: pb.StepEvents) -> StepEvents:
    return StepEvents(
        deltas=tuple(delta_from_proto(delta) for delta in message.deltas),
        refusals=tuple(refusal_from_proto(refusal) for refusal in message.refusals),
        snapshot=snapshot_from_proto(message.snapshot),
        handoffs=tuple(handoff_from_proto(handoff) for handoff in message.handoffs),
    )


def handoff_to_proto(handoff: Handoff) -> pb.Handoff:
    return pb.Handoff(
        request_id=handoff.request_id,
        choice=handoff.choice,
        choices=handoff.choices,
        target=handoff.target,
        account=_account_to_proto(handoff.account),
    )


def handoff_from_proto(message: pb.Handoff) -> Handoff:
    return Handoff(
        request_id=RequestId(message.request_id),
        choice=message.choice,
        choices=message.choices,
        target=ReplicaId(message.target) if message.HasField("target") else None,
        account=_account_from_proto(message.account) if message.HasField("account") else None,
    )


def delta_to_proto(delta: Delta) -> pb.Delta:
    return pb.Delta(
        request_id=delta.request_id,
        choice=delta.choice,
        first_index=delta.first_index,
        tokens=[sampled_token_to_proto(token) for token in delta.tokens],
        finish=delta.finish.value if delta.finish is not None else "",
        hit_tokens=delta.hit_tokens,
        account=_account_to_proto(delta.account),
    )


def delta_from_proto(message: pb.Delta) -> Delta:
    return Delta(
        request_id=RequestId(message.request_id),
        choice=message.choice,
        first_index=message.first_index,
        tokens=tuple(sampled_token_from_proto(token) for token in message.tokens),
        finish=_finish_from_proto(message.finish) if message.finish else None,
        hit_tokens=message.hit_tokens,
        account=_account_from_proto(message.account) if message.HasField("account") else None,
    )


def _account_to_proto(account: Account | None) -> pb.Account | None:
    if account is None:
        return None
    return pb.Account(
        queue_ns=account.queue_ns,
        prefill_ns=account.prefill_ns,
        decode_ns=account.decode_ns,
        chunks=account.chunks,
        preemptions=account.preemptions,
    )


def _account_from_proto(message: pb.Account) -> Account:
    return Account(
        queue_ns=message.queue_ns,
        prefill_ns=message.prefill_ns,
        decode_ns=message.decode_ns,
        chunks=message.chunks,
        preemptions=message.preemptions,
    )


def sampled_token_to_proto(token: SampledToken) -> pb.SampledToken:
    return pb.SampledToken(
        token=token.token,
        logprob=token.logprob,
        top_tokens=[alternative for alternative, _ in token.top],
        top_logprobs=[logprob for _, logprob in token.top],
    )


def sampled_token_from_proto(message: pb.SampledToken) -> SampledToken:
    if not (message.HasField("logprob") or message.top_tokens or message.top_logprobs):
        return _plain_token(message.token)
    if len(message.top_tokens) != len(message.top_logprobs):
        raise ValueError(
            f"SampledToken: {len(message.top_tokens)} top_tokens"
            f" but {len(message.top_logprobs)} top_logprobs"
        )
    return SampledToken(
        token=message.token,
        logprob=message.logprob if message.HasField("logprob") else None,
        top=tuple(zip(message.top_tokens, message.top_logprobs, strict=True)),
    )


@lru_cache(PLAIN_TOKENS_MAX)
def _plain_token(token: int) -> SampledToken:
    """Made once: nearly every token of every stream is one, and making it takes microseconds."""
    return SampledToken(token)


def refusal_to_proto(refusal: Refusal) -> pb.Refusal:
    return pb.Refusal(
        request_id=refusal.request_id,
        reason=refusal.reason.value,
        message=refusal.message,
        choice=refusal.choice,
    )


def refusal_from_proto(message: pb.Refusal) -> Refusal:
    return Refusal(
        request_id=RequestId(message.request_id),
        reason=_refusal_reason_from_proto(message.reason),
        message=message.message,
        choice=message.choice,
    )


# ---- reports


def snapshot_to_proto(snapshot: Snapshot) -> pb.Snapshot:
    return pb.Snapshot(
        replica_id=snapshot.replica_id,
        epoch=snapshot.epoch,
        number=snapshot.number,
        blocks_total=snapshot.blocks_total,
        blocks_free=snapshot.blocks_free,
        blocks_cached=snapshot.blocks_cached,
        blocks_used=snapshot.blocks_used,
        sequences_running=snapshot.sequences_running,
        sequences_waiting=snapshot.sequences_waiting,
        prefill_tokens_waiting=snapshot.prefill_tokens_waiting,
        blocks_waiting=snapshot.blocks_waiting,
        draining=snapshot.draining,
        step_ns=snapshot.step_ns,
        full_ns=snapshot.full_ns,
        full_prefill_tokens=snapshot.full_prefill_tokens,
        blocks_yielding=snapshot.blocks_yielding,
        blocks_shared=snapshot.blocks_shared,
        blocks_unreclaimable=snapshot.blocks_unreclaimable,
        slots_unused=snapshot.slots_unused,
        registry_behind_ns=snapshot.registry_behind_ns,
        copy_start_ns=snapshot.copy_start_ns,
        copy_block_ns=snapshot.copy_block_ns,
        copies=copies_to_proto(snapshot.copies),
        prefill_context_waiting=snapshot.prefill_context_waiting,
        full_prefill_context=snapshot.full_prefill_context,
        host_blocks_total=snapshot.host_blocks_total,
        host_blocks_used=snapshot.host_blocks_used,
        counters=counters_to_proto(snapshot.counters),
        totals=totals_to_proto(snapshot.totals),
    )


def snapshot_from_proto(message: pb.Snapshot) -> Snapshot:
    return Snapshot(
        replica_id=ReplicaId(message.replica_id),
        epoch=message.epoch,
        number=message.number,
        blocks_total=message.blocks_total,
        blocks_free=message.blocks_free,
        blocks_cached=message.blocks_cached,
        blocks_used=message.blocks_used,
        sequences_running=message.sequences_running,
        sequences_waiting=message.sequences_waiting,
        prefill_tokens_waiting=message.prefill_tokens_waiting,
        blocks_waiting=message.blocks_waiting,
        draining=message.draining,
        step_ns=message.step_ns,
        full_ns=message.full_ns,
        full_prefill_tokens=message.full_prefill_tokens,
        blocks_yielding=message.blocks_yielding,
        blocks_shared=message.blocks_shared,
        blocks_unreclaimable=message.blocks_unreclaimable,
        slots_unused=message.slots_unused,
        registry_behind_ns=message.registry_behind_ns,
        copy_start_ns=message.copy_start_ns,
        copy_block_ns=message.copy_block_ns,
        copies=copies_from_proto(message),
        prefill_context_waiting=message.prefill_context_waiting,
        full_prefill_context=message.full_prefill_context,
        host_blocks_total=message.host_blocks_total,
        host_blocks_used=message.host_blocks_used,
        counters=counters_from_proto(message.counters),
        totals=totals_from_proto(message),
    )


def counters_to_proto(counters: EngineCounters) -> pb.EngineCounters:
    return pb.EngineCounters(**{name: getattr(counters, name) for name in COUNTERS})


def counters_from_proto(message: pb.EngineCounters) -> EngineCounters:
    return EngineCounters(**{name: getattr(message, name) for name in COUNTERS})


def record_to_proto(record: ReplicaRecord) -> pb.ReplicaRecord:
    return pb.ReplicaRecord(
        replica_id=record.replica_id,
        address=record.address,
        card=card_to_proto(record.card),
        blocks_total=record.blocks_total,
    )


def record_from_proto(message: pb.ReplicaRecord) -> ReplicaRecord:
    return ReplicaRecord(
        replica_id=ReplicaId(message.replica_id),
        address=message.address,
        card=card_from_proto(message.card),
        blocks_total=message.blocks_total,
    )


def card_to_proto(card: ModelCard) -> pb.ModelCard:
    return pb.ModelCard(
        name=card.name,
        revision=card.revision,
        dtype=card.dtype,
        block_size=card.block_size,
        context_tokens_max=card.context_tokens_max,
        vocab_size=card.vocab_size,
    )


def card_from_proto(message: pb.ModelCard) -> ModelCard:
    return ModelCard(
        name=message.name,
        revision=message.revision,
        dtype=message.dtype,
        block_size=message.block_size,
        context_tokens_max=message.context_tokens_max,
        vocab_size=message.vocab_size,
    )


# ---- closed words


def _class_from_proto(word: str) -> RequestClass:
    try:
        return RequestClass(word)
    except ValueError:
        raise ValueError(f"Submit.request_class: unknown class {word!r}") from None


def _finish_from_proto(word: str) -> FinishReason:
    try:
        return FinishReason(word)
    except ValueError:
        raise ValueError(f"Delta.finish: unknown reason {word!r}") from None


def _refusal_reason_from_proto(word: str) -> RefusalReason:
    try:
        return RefusalReason(word)
    except ValueError:
        raise ValueError(f"Refusal.reason: unknown reason {word!r}") from None
