"""What two replicas and the control plane say of moves comes back equal from the wire.

Power: dropping or swapping any field in convert_moves.py fails its round trip.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import control_pb2 as pb
from protos import convert_moves as convert
from protos.hashing import BlockHash
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
from tests.unit.protos.test_convert import records, requests, sampled_tokens, uint32, uint64, words

move_ids = words.map(MoveId)
cards = records.map(lambda record: record.card)
to_targets = st.one_of(
    st.builds(Reserve, move_ids, words.map(ReplicaId), uint64, cards, requests),
    st.builds(
        Blocks, move_ids, uint32, st.lists(st.binary(max_size=9), max_size=3).map(tuple), uint32
    ),
    st.builds(Commit, move_ids, st.lists(sampled_tokens, max_size=3).map(tuple), uint64),
    st.builds(Abort, move_ids),
)
to_sources = st.one_of(
    st.builds(Reserved, move_ids, uint32),
    st.builds(Written, move_ids, uint32),
    st.builds(Committed, move_ids),
    st.builds(Declined, move_ids, st.sampled_from(DeclineReason), words),
)
names = st.binary(min_size=16, max_size=16).map(BlockHash)
asks = st.builds(
    CopyAsk,
    cards,
    names,
    st.lists(names, max_size=3).map(tuple),
    st.lists(uint32, max_size=9).map(tuple),
    uint32,
)
chunks = st.builds(
    CopyChunk, uint32, st.lists(st.binary(max_size=9), max_size=3).map(tuple), uint32
)
peers = st.builds(Peer, words.map(ReplicaId), words, uint64)
orders = st.builds(MoveOrder, move_ids, words.map(SequenceId), st.none() | peers, uint32)
reports = st.builds(
    MoveReport,
    move_ids,
    words.map(SequenceId),
    st.sampled_from(MoveOutcome),
    words,
    uint32,
    *[uint64] * 5,
    target=st.none() | words.filter(bool).map(ReplicaId),
    request_id=st.none() | words.filter(bool).map(RequestId),
    choice=uint32,
)
sequences = st.builds(
    SequenceReport,
    words.map(SequenceId),
    words.map(RequestId),
    uint32,
    st.sampled_from(RequestClass),
    words,
    *[uint64] * 4,
    is_waiting=st.booleans(),
    is_movable=st.booleans(),
)


@given(to_targets)
def test_what_the_source_says_survives_the_wire(message: ToTarget) -> None:
    wire = convert.to_target_to_proto(message).SerializeToString()
    assert convert.to_target_from_proto(pb.ToTarget.FromString(wire)) == message


@given(to_sources)
def test_what_the_target_says_survives_the_wire(message: ToSource) -> None:
    wire = convert.to_source_to_proto(message).SerializeToString()
    assert convert.to_source_from_proto(pb.ToSource.FromString(wire)) == message


@given(asks)
def test_what_is_asked_to_be_copied_survives_the_wire(ask: CopyAsk) -> None:
    wire = convert.copy_ask_to_proto(ask).SerializeToString()
    assert convert.copy_ask_from_proto(pb.CopyAsk.FromString(wire)) == ask


@given(chunks)
def test_what_is_copied_survives_the_wire(chunk: CopyChunk) -> None:
    wire = convert.copy_chunk_to_proto(chunk).SerializeToString()
    assert convert.copy_chunk_from_proto(pb.CopyChunk.FromString(wire)) == chunk


@given(orders)
def test_an_order_survives_the_wire(order: MoveOrder) -> None:
    wire = convert.move_order_to_proto(order).SerializeToString()
    assert convert.move_order_from_proto(pb.MoveOrder.FromString(wire)) == order


@given(reports)
def test_a_report_survives_the_wire(report: MoveReport) -> None:
    wire = convert.move_report_to_proto(report).SerializeToString()
    assert convert.move_report_from_proto(pb.MoveReport.FromString(wire)) == report


@given(sequences)
def test_a_sequence_survives_the_wire(report: SequenceReport) -> None:
    wire = convert.sequence_to_proto(report).SerializeToString()
    assert convert.sequence_from_proto(pb.SequenceReport.FromString(wire)) == report


@pytest.mark.parametrize("kind", [pb.ToTarget, pb.ToSource])
def test_a_message_without_content_is_refused(kind: type[pb.ToTarget | pb.ToSource]) -> None:
    read = convert.to_target_from_proto if kind is pb.ToTarget else convert.to_source_from_proto
    with pytest.raises(ValueError, match="no message that is known"):
        read(kind(move_id="m"))  # type: ignore[arg-type]


def test_an_unknown_word_is_refused_by_the_name_of_its_field() -> None:
    with pytest.raises(ValueError, match=r"MoveReport\.outcome.*'vanished'"):
        convert.move_report_from_proto(pb.MoveReport(outcome="vanished"))
