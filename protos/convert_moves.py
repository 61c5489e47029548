"""Orders, reports and messages of moves to protobuf and back, as convert.py does the rest.

A word outside a closed Enum, or a message without content, is a ValueError.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from protos import control_pb2 as pb
from protos.convert import (
    card_from_proto,
    card_to_proto,
    request_from_proto,
    request_to_proto,
    sampled_token_from_proto,
    sampled_token_to_proto,
)
from protos.hashing import DIGEST_BYTES, BlockHash
from protos.messages import ReplicaId, RequestClass, RequestId, SequenceId, SequenceReport
from protos.moves import (
    Abort,
    Blocks,
    Commit,
    Committed,
    CopyAsk,
    CopyChunk,
    Declined,
    DeclineReason,
    MoveId,
    MoveOrder,
    MoveOutcome,
    MoveReport,
    Peer,
    Reserve,
    Reserved,
    ToSource,
    ToTarget,
    Written,
)

Word = TypeVar("Word", bound=Enum)

# ---- source to target


def to_target_to_proto(message: ToTarget) -> pb.ToTarget:
    match message:
        case Reserve(move_id, source, target_epoch, card, request):
            reserve = pb.Reserve(
                source=source,
                target_epoch=target_epoch,
                card=card_to_proto(card),
                request=request_to_proto(request),
            )
            return pb.ToTarget(move_id=move_id, reserve=reserve)
        case Blocks(move_id, first, payloads, crc32):
            blocks = pb.Blocks(first=first, payloads=payloads, crc32=crc32)
            return pb.ToTarget(move_id=move_id, blocks=blocks)
        case Commit(move_id, said, computed):
            tokens = [sampled_token_to_proto(token) for token in said]
            return pb.ToTarget(move_id=move_id, commit=pb.Commit(said=tokens, computed=computed))
        case Abort(move_id):
            return pb.ToTarget(move_id=move_id, abort=pb.Abort())


def to_target_from_proto(message: pb.ToTarget) -> ToTarget:
    move_id = MoveId(message.move_id)
    match message.WhichOneof("message"):
        case "reserve":
            reserve = message.reserve
            return Reserve(
                move_id,
                ReplicaId(reserve.source),
                reserve.target_epoch,
                card_from_proto(reserve.card),
                request_from_proto(reserve.request),
            )
        case "blocks":
            blocks = message.blocks
            return Blocks(move_id, blocks.first, tuple(blocks.payloads), blocks.crc32)
        case "commit":
            said = tuple(sampled_token_from_proto(token) for token in message.commit.said)
            return Commit(move_id, said, message.commit.computed)
        case "abort":
            return Abort(move_id)
        case _:
            raise ValueError("ToTarget: no message that is known")


# ---- target to source


def to_source_to_proto(message: ToSource) -> pb.ToSource:
    match message:
        case Reserved(move_id, held):
            return pb.ToSource(move_id=move_id, reserved=pb.Reserved(held=held))
        case Written(move_id, next_block):
            return pb.ToSource(move_id=move_id, written=pb.Written(next_block=next_block))
        case Committed(move_id):
            return pb.ToSource(move_id=move_id, committed=pb.Committed())
        case Declined(move_id, reason, sentence):
            declined = pb.Declined(reason=reason.value, message=sentence)
            return pb.ToSource(move_id=move_id, declined=declined)


def to_source_from_proto(message: pb.ToSource) -> ToSource:
    move_id = MoveId(message.move_id)
    match message.WhichOneof("message"):
        case "reserved":
            return Reserved(move_id, message.reserved.held)
        case "written":
            return Written(move_id, message.written.next_block)
        case "committed":
            return Committed(move_id)
        case "declined":
            reason = _word(DeclineReason, message.declined.reason, "Declined.reason")
            return Declined(move_id, reason, message.declined.message)
        case _:
            raise ValueError("ToSource: no message that is known")


# ---- copies


def copy_ask_to_proto(ask: CopyAsk) -> pb.CopyAsk:
    return pb.CopyAsk(
        card=card_to_proto(ask.card),
        root=ask.root,
        names=b"".join(ask.names),
        tokens=ask.tokens,
        first=ask.first,
    )


def copy_ask_from_proto(message: pb.CopyAsk) -> CopyAsk:
    names = message.names
    starts = range(0, len(names), DIGEST_BYTES)
    return CopyAsk(
        card=card_from_proto(message.card),
        root=BlockHash(message.root),
        names=tuple(BlockHash(names[at : at + DIGEST_BYTES]) for at in starts),
        tokens=tuple(message.tokens),
        first=message.first,
    )


def copy_chunk_to_proto(chunk: CopyChunk) -> pb.CopyChunk:
    return pb.CopyChunk(first=chunk.first, payloads=chunk.payloads, crc32=chunk.crc32)


def copy_chunk_from_proto(message: pb.CopyChunk) -> CopyChunk:
    return CopyChunk(message.first, tuple(message.payloads), message.crc32)


# ---- control plane and replica


def peer_to_proto(peer: Peer) -> pb.Peer:
    return pb.Peer(replica_id=peer.replica_id, address=peer.address, epoch=peer.epoch)


def peer_from_proto(message: pb.Peer) -> Peer:
    return Peer(ReplicaId(message.replica_id), message.address, message.epoch)


def move_order_to_proto(order: MoveOrder) -> pb.MoveOrder:
    return pb.MoveOrder(
        move_id=order.move_id,
        sequence_id=order.sequence_id,
        target=peer_to_proto(order.target) if order.target is not None else None,
        deadline_ms=order.deadline_ms,
    )


def move_order_from_proto(message: pb.MoveOrder) -> MoveOrder:
    return MoveOrder(
        MoveId(message.move_id),
        SequenceId(message.sequence_id),
        peer_from_proto(message.target) if message.HasField("target") else None,
        message.deadline_ms,
    )


def move_report_to_proto(report: MoveReport) -> pb.MoveReport:
    return pb.MoveReport(
        move_id=report.move_id,
        sequence_id=report.sequence_id,
        outcome=report.outcome.value,
        detail=report.detail,
        stages=report.stages,
        blocks_sent=report.blocks_sent,
        blocks_shared=report.blocks_shared,
        bytes_sent=report.bytes_sent,
        frozen_ns=report.frozen_ns,
        total_ns=report.total_ns,
        target=report.target or "",
        request_id=report.request_id or "",
        choice=report.choice,
    )


def move_report_from_proto(message: pb.MoveReport) -> MoveReport:
    return MoveReport(
        move_id=MoveId(message.move_id),
        sequence_id=SequenceId(message.sequence_id),
        outcome=_word(MoveOutcome, message.outcome, "MoveReport.outcome"),
        detail=message.detail,
        stages=message.stages,
        blocks_sent=message.blocks_sent,
        blocks_shared=message.blocks_shared,
        bytes_sent=message.bytes_sent,
        frozen_ns=message.frozen_ns,
        total_ns=message.total_ns,
        target=ReplicaId(message.target) if message.target else None,
        request_id=RequestId(message.request_id) if message.request_id else None,
        choice=message.choice,
    )


def sequence_to_proto(report: SequenceReport) -> pb.SequenceReport:
    return pb.SequenceReport(
        sequence_id=report.sequence_id,
        request_id=report.request_id,
        choice=report.choice,
        request_class=report.request_class.value,
        tenant=report.tenant,
        tokens=report.tokens,
        blocks=report.blocks,
        blocks_own=report.blocks_own,
        tokens_left_max=report.tokens_left_max,
        is_waiting=report.is_waiting,
        is_movable=report.is_movable,
    )


def sequence_from_proto(message: pb.SequenceReport) -> SequenceReport:
    return SequenceReport(
        sequence_id=SequenceId(message.sequence_id),
        request_id=RequestId(message.request_id),
        choice=message.choice,
        request_class=_word(RequestClass, message.request_class, "SequenceReport.request_class"),
        tenant=message.tenant,
        tokens=message.tokens,
        blocks=message.blocks,
        blocks_own=message.blocks_own,
        tokens_left_max=message.tokens_left_max,
        is_waiting=message.is_waiting,
        is_movable=message.is_movable,
    )


def _word(words: type[Word], value: str, field: str) -> Word:
    try:
        return words(value)
    except ValueError:
        raise ValueError(f"{field}: unknown word {value!r}") from None
