"""Records as a gateway keeps them, made by hand."""

from __future__ import annotations

from orchestrator.gateway.record import Happened, Happening, Record
from orchestrator.live.clock import OsClock
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
