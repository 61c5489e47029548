"""Records as a gateway keeps them, made by hand."""

from __future__ import annotations

from orchestrator.gateway.record import Happened, Happening, Look, Record
from orchestrator.live.clock import OsClock
from orchestrator.policy.route import Placement, RouteConfig, RouteReason
from orchestrator.policy.scores import Cost
from orchestrator.policy.view import ClusterView, Subject
from protos.messages import ReplicaId, RequestClass, RequestId

S = 1_000_000_000
NOW = 10_000 * S
A, B = ReplicaId("a"), ReplicaId("b")


def record(
    name: str = "r",
    *,
    began_s: float,
    first_s: float | None = None,
    ended_s: float | None = None,
    tokens: int = 0,
    request_class: RequestClass = RequestClass.INTERACTIVE,
    choices: int = 1,
) -> Record:
    """Times are seconds before NOW."""
    made = Record(
        OsClock(), RequestId(name), request_class, "acme", began_ns=before(began_s), choices=choices
    )
    made.first_token_ns = None if first_s is None else before(first_s)
    made.completion_tokens = tokens
    if ended_s is not None:
        made.ended_ns, made.outcome = before(ended_s), "ok"
    return made


def happened(what: Happening, at_s: float, replica: ReplicaId, detail: str = "") -> Happened:
    return Happened(before(at_s), 0, what, replica, detail)


def before(seconds: float) -> int:
    return NOW - round(seconds * S)


def placed_at(replica_id: ReplicaId) -> Record:
    """A request that was sent there and has no answer yet."""
    made = record(began_s=1)
    cost = Cost(blocks=4, blocks_missing=0, queue_s=0.0, prefill_s=0.1, room_s=0.0, pressure_s=0.0)
    placement = Placement(
        replica_id,
        epoch=1,
        reason=RouteReason.LOAD,
        cost=cost,
        hit_blocks=0,
        blocks=4,
        prefill_tokens=64,
        sequences=1,
    )
    subject = Subject(made.request_id, prompt_tokens=64, tokens_max=8, choices=1, block_size=16)
    made.placed(0, Look(ClusterView(NOW, ()), subject, {}, RouteConfig(), placement))
    return made
