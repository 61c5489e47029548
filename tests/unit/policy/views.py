"""Short ways to write down a cluster."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st

from orchestrator.policy.view import ClusterView, ReplicaView, Subject
from protos.messages import ReplicaId, RequestClass, RequestId

BLOCK_SIZE = 16
# Examples take as long as the machine makes them.
unhurried = settings(deadline=None)
IDLE = ReplicaView(
    replica_id=ReplicaId("idle"),
    epoch=1,
    alive=True,
    draining=False,
    blocks_total=1000,
    blocks_free=1000,
    blocks_cached=0,
    blocks_used=0,
    blocks_waiting=0,
    blocks_promised=0,
    sequences_running=0,
    sequences_waiting=0,
    sequences_promised=0,
    prefill_tokens_waiting=0,
    prefill_tokens_promised=0,
    prefill_tokens_per_s=None,
    residence_ns=None,
)


def idle(name: str) -> ReplicaView:
    return replace(IDLE, replica_id=ReplicaId(name))


def full(name: str) -> ReplicaView:
    return replace(idle(name), blocks_free=0, blocks_used=1000, sequences_running=10)


def cluster(*replicas: ReplicaView) -> ClusterView:
    return ClusterView(0, replicas)


def subject(prompt_tokens: int = 640, request_id: str = "r", tokens_max: int = 64) -> Subject:
    return Subject(RequestId(request_id), prompt_tokens, tokens_max, 1, BLOCK_SIZE)


@st.composite
def replica_views(draw: st.DrawFn, name: str) -> ReplicaView:
    """Any replica that the engine's accounting allows."""
    used = draw(st.integers(0, 400))
    cached = draw(st.integers(0, 400))
    free = draw(st.integers(0, 400))
    return ReplicaView(
        replica_id=ReplicaId(name),
        epoch=draw(st.integers(1, 3)),
        alive=draw(st.sampled_from([True, True, True, False])),
        draining=draw(st.sampled_from([False, False, False, True])),
        blocks_total=max(1, used + cached + free),
        blocks_free=free if used + cached + free else 1,
        blocks_cached=cached,
        blocks_used=used,
        blocks_waiting=draw(st.integers(0, 50)),
        blocks_promised=draw(st.integers(0, 50)),
        sequences_running=draw(st.integers(0, 20)),
        sequences_waiting=draw(st.integers(0, 40)),
        sequences_promised=draw(st.integers(0, 10)),
        prefill_tokens_waiting=draw(st.integers(0, 20_000)),
        prefill_tokens_promised=draw(st.integers(0, 5_000)),
        prefill_tokens_per_s=draw(st.none() | st.floats(100.0, 50_000.0)),
        residence_ns=draw(st.none() | st.integers(1, 60_000_000_000)),
        blocks_reserved=draw(st.integers(0, 200)),
        blocks_yielding=draw(st.integers(0, 100)),
        copy_start_ns=draw(st.sampled_from([0, 0, 1_000_000, 100_000_000])),
        copy_block_ns=draw(st.sampled_from([0, 0, 100_000, 5_000_000])),
        context_weight=draw(st.sampled_from([0.0, 1 / 60_000, 1 / 1_000])),
    )


NAMES = ("a", "b", "c", "d")
clusters = st.tuples(*(replica_views(name) for name in NAMES)).map(lambda r: cluster(*r))
subjects = st.builds(
    Subject,
    request_id=st.text("xyz", min_size=1, max_size=4).map(RequestId),
    prompt_tokens=st.integers(1, 12_000),
    tokens_max=st.integers(1, 1000),
    choices=st.integers(1, 4),
    block_size=st.just(BLOCK_SIZE),
    request_class=st.sampled_from(RequestClass),
    held=st.dictionaries(st.sampled_from(NAMES).map(ReplicaId), st.integers(1, 800)),
)
hits = st.dictionaries(st.sampled_from(NAMES).map(ReplicaId), st.integers(1, 800))
