"""The gRPC door under generated calls: every one has a status that is its own, and leaves nothing.

Messages are made up from the descriptors of inference.proto (generated.py). No
status may say that something of ours broke, and afterwards nothing may run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from protos import inference_pb2 as pb
from tests.integration.gateway.conftest import Served
from tests.integration.security.background import in_background
from tests.integration.security.generated import messages
from tests.waiting import wait_for

WITHIN_S = 60.0  # on a machine that does much else
SERVICE = pb.DESCRIPTOR.services_by_name["Inference"]
# What a client may be told of its own call; that a replica, or all of this, broke is not in it.
OF_THE_CALL = {
    StatusCode.OK,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.CANCELLED,
}
FUZZED = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,  # the same calls every time: what fails in CI fails here
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.generate, Phase.shrink],
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with in_background(tmp_path_factory.mktemp("model")) as served:
        yield served


@pytest.fixture(scope="module")
def channel(served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.grpc_address) as channel:
        yield channel


def in_flight(served: Served) -> float:
    """Requests that the gateway believes to be running."""
    for family in served.gateway.metrics.registry.collect():
        for sample in family.samples:
            if sample.name == "blockyard_requests_in_flight":
                return sample.value
    raise AssertionError("nobody counts what is in flight")


def call(channel: grpc.Channel, method: str, request: Any, timeout_s: float) -> StatusCode:
    """How a call of the service ends."""
    described = SERVICE.methods_by_name[method]
    kind = channel.unary_stream if described.server_streaming else channel.unary_unary
    ask: Any = kind(
        f"/{SERVICE.full_name}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=None,
    )
    try:
        answer = ask(request, timeout=timeout_s)
        if described.server_streaming:
            for _ in answer:
                pass
    except grpc.RpcError as error:
        status: StatusCode = error.code()
        return status
    return StatusCode.OK


@FUZZED
@given(
    request_=messages(pb.GenerateRequest),
    timeout_s=st.sampled_from([0.001, WITHIN_S, WITHIN_S, WITHIN_S]),
)
def test_no_generated_request_breaks_anything(
    served: Served, channel: grpc.Channel, request_: pb.GenerateRequest, timeout_s: float
) -> None:
    assert call(channel, "Generate", request_, timeout_s) in OF_THE_CALL
    assert call(channel, "Generate", pb.GenerateRequest(text="a"), WITHIN_S) is StatusCode.OK


@pytest.mark.parametrize("method", [m.name for m in SERVICE.methods if m.name != "Generate"])
def test_no_generated_message_breaks_a_method(
    served: Served, channel: grpc.Channel, method: str
) -> None:
    kind = getattr(pb, SERVICE.methods_by_name[method].input_type.name)

    @FUZZED
    @given(request_=messages(kind))
    def calls_end_well(request_: Any) -> None:
        assert call(channel, method, request_, WITHIN_S) in OF_THE_CALL

    calls_end_well()


@pytest.mark.parametrize("path", [f"/{SERVICE.full_name}/Generate", "/grpc.health.v1.Health/Check"])
def test_bytes_that_are_no_message_are_their_senders_mistake(
    channel: grpc.Channel, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask: Any = channel.unary_stream(path)

    @FUZZED
    @given(content=st.binary(max_size=300))
    def ends_well(content: bytes) -> None:
        try:
            for _ in ask(content, timeout=WITHIN_S):
                pass
        except grpc.RpcError as error:
            assert error.code() in OF_THE_CALL, error

    ends_well()
    assert "Traceback" not in caplog.text, "a stranger may not fill the log"


def test_nothing_is_left_of_all_that(served: Served, channel: grpc.Channel) -> None:
    for number in range(50):
        ask: Any = channel.unary_stream(f"/{SERVICE.full_name}/Generate")
        answer = ask(pb.GenerateRequest(text=f"{number}").SerializeToString())
        answer.cancel()
    wait_for(lambda: in_flight(served) == 0, within_s=WITHIN_S, what="nothing is in flight")
