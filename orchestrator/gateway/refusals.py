"""What a replica's refusal, or its loss, means to the client. The one table of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.gateway.errors import (
    GatewayError,
    InvalidRequest,
    NoReplica,
    PoisonRequest,
    ReplicaFailed,
    Shed,
    Unservable,
)
from orchestrator.gateway.totals import RetryReason
from orchestrator.policy.admit import AdmitReason
from protos.messages import Refusal, RefusalReason

REPLICA_LOST = "replica_lost"  # an alert counts it
RETRY_AFTER_S = 1  # another replica, or the same one after its next step, may take it


@dataclass(frozen=True, slots=True)
class Setback:
    """Why a replica did not answer: the client's error, unless another replica may be tried."""

    error: GatewayError
    retry: RetryReason | None


def lost() -> Setback:
    """The replica was lost before its first delta."""
    error = ReplicaFailed("the replica was lost before it answered", code=REPLICA_LOST)
    return Setback(error, RetryReason.LOST)


def cut() -> GatewayError:
    """The replica was lost in the middle, and no other one went on."""
    return ReplicaFailed(
        "the replica was lost while it answered, and no other one took over in time",
        code=REPLICA_LOST,
    )


def handed_back() -> GatewayError:
    """Replica after replica gave the request back before its first token."""
    message = "every replica that took the request has given it back; try again soon"
    return NoReplica(message, code="handed_back", retry_after_s=RETRY_AFTER_S)


def poison(losses: int) -> GatewayError:
    """The request may be what replicas die of."""
    return PoisonRequest(
        f"{losses} replicas were lost while they ran this request; it is not tried again",
        code="poison_request",
    )


def known_poison() -> GatewayError:
    """So many replicas died of the same lately that it is not risked again."""
    return PoisonRequest(
        "replicas were lost while they ran a request like this one; try again in some minutes",
        code="poison_request",
    )


def refused(refusal: Refusal) -> Setback:
    """The replica said no."""
    build, retry = VERDICTS[refusal.reason]
    return Setback(build(refusal.message), retry)


def draining(message: str) -> GatewayError:
    return NoReplica(message, code="draining", retry_after_s=RETRY_AFTER_S)


def queue_full(message: str) -> GatewayError:
    return Shed(message, code="overloaded", retry_after_s=RETRY_AFTER_S)


def overdue(message: str) -> GatewayError:
    """As for a request whose patience ends in the gateway's own line."""
    return Shed(message, code=AdmitReason.WAIT_TOO_LONG.value, retry_after_s=RETRY_AFTER_S)


def gone(message: str) -> GatewayError:
    return ReplicaFailed(message, code=REPLICA_LOST)


def never_fits(message: str) -> GatewayError:
    return Unservable(message, code="never_fits")


def context_exceeded(message: str) -> GatewayError:
    return InvalidRequest(message, code="context_length_exceeded")


def token_out_of_range(message: str) -> GatewayError:
    return InvalidRequest(message, code="token_out_of_range")


def invalid(message: str) -> GatewayError:
    return InvalidRequest(message, code="invalid_request")


VERDICTS: dict[RefusalReason, tuple[Callable[[str], GatewayError], RetryReason | None]] = {
    RefusalReason.DRAINING: (draining, RetryReason.DRAINING),
    RefusalReason.QUEUE_FULL: (queue_full, RetryReason.QUEUE_FULL),
    RefusalReason.OVERDUE: (overdue, None),
    RefusalReason.GONE: (gone, RetryReason.GONE),
    RefusalReason.NEVER_FITS: (never_fits, None),
    RefusalReason.CONTEXT_EXCEEDED: (context_exceeded, None),
    RefusalReason.TOKEN_OUT_OF_RANGE: (token_out_of_range, None),
    RefusalReason.INVALID: (invalid, None),
}
