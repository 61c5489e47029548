from __future__ import annotations

import grpc

from orchestrator.gateway import grpc_errors, http_errors
from orchestrator.gateway.errors import GatewayError, NoReplica, NotFound, Shed


def test_every_error_has_a_status_at_both_doors() -> None:
    kinds = set(GatewayError.__subclasses__())
    assert set(http_errors.STATUS) == kinds
    assert set(grpc_errors.STATUS) == kinds


def test_an_error_that_may_pass_says_when_to_come_back() -> None:
    shed = Shed("full", code="queue_full", retry_after_s=3)
    response = http_errors.error_response(shed)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert http_errors.error_json(shed)["error"]["type"] == "rate_limit_error"
    gone = http_errors.error_response(NoReplica("none", code="no_replica", retry_after_s=2))
    assert (gone.status_code, gone.headers["retry-after"]) == (503, "2")
    assert ("retry-after-s", "3") in grpc_errors.trailing_metadata(shed)


def test_an_error_carries_its_code_and_field() -> None:
    error = NotFound("no such model", code="model_not_found", param="model")
    assert http_errors.error_json(error) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert grpc_errors.STATUS[NotFound] is grpc.StatusCode.NOT_FOUND
    assert grpc_errors.trailing_metadata(error) == (
        ("error-code", "model_not_found"),
        ("error-param", "model"),
    )
