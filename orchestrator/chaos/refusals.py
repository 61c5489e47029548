"""Which refusals are a right a server has in trouble, and which are its failure.

A refusal is typed: a code from the list below under the HTTP status that goes
with it. An answer of any other code, or one of these codes under another
status, is an error that only looks like a refusal; a client that gets it was
let down. The list is the gateway's contract with clients, written down a
second time on purpose: a code that is new there is judged here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from orchestrator.workload.heard import Heard

REFUSALS: Mapping[str, HTTPStatus] = {
    # Too much is asked right now.
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "pushed_out": HTTPStatus.TOO_MANY_REQUESTS,
    "wait_too_long": HTTPStatus.TOO_MANY_REQUESTS,
    "objective_missed": HTTPStatus.TOO_MANY_REQUESTS,
    "overloaded": HTTPStatus.TOO_MANY_REQUESTS,
    # Nobody is there.
    "no_replica": HTTPStatus.SERVICE_UNAVAILABLE,
    "handed_back": HTTPStatus.SERVICE_UNAVAILABLE,
    "draining": HTTPStatus.SERVICE_UNAVAILABLE,
    "gateway_stopping": HTTPStatus.SERVICE_UNAVAILABLE,
    "replica_lost": HTTPStatus.BAD_GATEWAY,
    # The request itself cannot be served.
    "poison_request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "never_fits": HTTPStatus.BAD_REQUEST,
    "context_length_exceeded": HTTPStatus.BAD_REQUEST,
}


def is_typed(heard: Heard) -> bool:
    """Whether its reason is on the list; one told as an event of a stream has the status 200."""
    status = REFUSALS.get(heard.code)
    return status is not None and heard.status in (0, HTTPStatus.OK, status)
