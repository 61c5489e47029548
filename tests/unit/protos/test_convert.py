"""Everything that crosses the wire comes back equal; what does not belong is refused.

Values are generated over the whole range of each wire field. Power: dropping
or swapping any field in convert.py fails its round trip.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import control_pb2 as pb
from protos import convert
from protos.messages import (
    Account,
    CopySource,
    CopyTotals,
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
    StepTotals,
)
from protos.moves import Claim
from protos.registry import ReplicaRecord

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
words = st.text(max_size=20)

samplings = st.builds(
    SamplingParams,
    tokens_max=uint32,
    tokens_min=uint32,
    temperature=floats,
    top_k=st.none() | uint32,
    top_p=floats,
    min_p=floats,
    seed=int64,
    repetition_penalty=floats,
    presence_penalty=floats,
    frequency_penalty=floats,
    stop_token_ids=st.lists(uint32, max_size=4).map(tuple),
    logprobs=st.none() | uint32,
    grammar=words,
)
requests = st.builds(
    Request,
    request_id=words.map(RequestId),
    prompt=st.lists(uint32, max_size=20).map(tuple),
    sampling=samplings,
    choices=uint32,
    salt=st.binary(max_size=32),
    output=st.lists(uint32, max_size=20).map(tuple),
    first_choice=uint32,
    request_class=st.sampled_from(RequestClass),
    tenant=words,
    traceparent=words,
    deadline_ms=st.none() | uint64,
    copy_from=st.none() | st.builds(CopySource, words.map(ReplicaId), words, uint32),
)
accounts = st.none() | st.builds(Account, uint64, uint64, uint64, uint32, uint32)
handoffs = st.builds(
    Handoff,
    request_id=words.map(RequestId),
    choice=uint32,
    choices=uint32,
    target=st.none() | words.map(ReplicaId),
    account=accounts,
)
claims = st.builds(
    Claim,
    request_id=words.map(RequestId),
    choice=uint32,
    digest=st.binary(max_size=16),
    next_index=uint32,
)
sampled_tokens = st.builds(
    SampledToken,
    token=uint32,
    logprob=st.none() | floats,
    top=st.lists(st.tuples(uint32, floats), max_size=4).map(tuple),
)
deltas = st.builds(
    Delta,
    request_id=words.map(RequestId),
    choice=uint32,
    first_index=uint32,
    tokens=st.lists(sampled_tokens, max_size=3).map(tuple),
    finish=st.none() | st.sampled_from(FinishReason),
    hit_tokens=uint32,
    account=accounts,
)
refusals = st.builds(
    Refusal,
    request_id=words.map(RequestId),
    reason=st.sampled_from(RefusalReason),
    message=words,
    choice=uint32,
)
counters = st.builds(EngineCounters, *[uint64] * 15)
totals = st.builds(StepTotals, *[uint64] * 7)
snapshots = st.builds(
    Snapshot,
    words.map(ReplicaId),
    *[uint64] * 10,
    draining=st.booleans(),
    step_ns=uint64,
    full_ns=uint64,
    full_prefill_tokens=uint64,
    blocks_yielding=uint64,
    blocks_shared=uint64,
    blocks_unreclaimable=uint64,
    slots_unused=uint64,
    registry_behind_ns=uint64,
    copy_start_ns=uint64,
    copy_block_ns=uint64,
    host_blocks_total=uint64,
    host_blocks_used=uint64,
    totals=totals,
    copies=st.builds(
        CopyTotals,
        uint64,
        uint64,
        st.dictionaries(words, uint64, max_size=3).map(lambda ended: tuple(sorted(ended.items()))),
    ),
    counters=counters,
)
step_events = st.builds(
    StepEvents,
    deltas=st.lists(deltas, max_size=2).map(tuple),
    refusals=st.lists(refusals, max_size=2).map(tuple),
    snapshot=snapshots,
    handoffs=st.lists(handoffs, max_size=2).map(tuple),
)
records = st.builds(
    ReplicaRecord,
    replica_id=words.map(ReplicaId),
    address=words,
    card=st.builds(ModelCard, words, words, words, uint32, uint32, uint32),
    blocks_total=uint64,
)


@given(requests)
def test_a_request_survives_the_wire(request: Request) -> None:
    wire = convert.request_to_proto(request).SerializeToString()
    assert convert.request_from_proto(pb.Submit.FromString(wire)) == request


@given(claims)
def test_a_claim_survives_the_wire(claim: Claim) -> None:
    wire = convert.claim_to_proto(claim).SerializeToString()
    assert convert.claim_from_proto(pb.Claim.FromString(wire)) == claim


@given(step_events)
def test_the_events_of_a_step_survive_the_wire(events: StepEvents) -> None:
    wire = convert.step_events_to_proto(events).SerializeToString()
    assert convert.step_events_from_proto(pb.StepEvents.FromString(wire)) == events


@given(snapshots)
def test_a_snapshot_survives_the_wire(snapshot: Snapshot) -> None:
    wire = convert.snapshot_to_proto(snapshot).SerializeToString()
    assert convert.snapshot_from_proto(pb.Snapshot.FromString(wire)) == snapshot


@given(records)
def test_a_record_survives_the_wire(record: ReplicaRecord) -> None:
    wire = convert.record_to_proto(record).SerializeToString()
    assert convert.record_from_proto(pb.ReplicaRecord.FromString(wire)) == record


def test_an_unset_option_stays_apart_from_zero() -> None:
    unset = convert.sampling_from_proto(convert.sampling_to_proto(SamplingParams(tokens_max=1)))
    zero = convert.sampling_from_proto(
        convert.sampling_to_proto(SamplingParams(tokens_max=1, top_k=0, logprobs=0))
    )
    assert (unset.top_k, unset.logprobs) == (None, None)
    assert (zero.top_k, zero.logprobs) == (0, 0)


def test_an_unknown_finish_reason_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Delta\.finish: unknown reason 'exploded'"):
        convert.delta_from_proto(pb.Delta(finish="exploded"))


@pytest.mark.parametrize("word", ["", "because"])
def test_an_unknown_refusal_reason_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"Refusal\.reason: unknown reason"):
        convert.refusal_from_proto(pb.Refusal(request_id="r", reason=word))


def test_alternatives_without_their_log_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="2 top_tokens but 1 top_logprobs"):
        convert.sampled_token_from_proto(pb.SampledToken(top_tokens=[1, 2], top_logprobs=[0.5]))
