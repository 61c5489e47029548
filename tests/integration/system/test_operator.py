"""A cluster with choices of its own: mutual TLS, a Redis by URL, small blocks, one drained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import grpc
import httpx
import pytest
import trustme

from orchestrator.live import operator_client
from orchestrator.live.control_door import ControlDoor
from protos.transport import Transport
from tests.integration.system import strangers
from tests.integration.system.conftest import System, running_system
from tests.integration.tls.authorities import member
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

BLOCKS = 300
BLOCK_SIZE = 8


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = member(tmp_path_factory.mktemp("tls") / "internal", trustme.CA())
    with running_system(
        internal_tls=folder, blocks=BLOCKS, block_size=BLOCK_SIZE, dtype="bfloat16"
    ) as running:
        yield running


def command(system: System, verb: str, *words: str) -> str:
    port = str(system.control_port)
    own = ["--control-port", port, "--internal-tls", str(system.internal_tls)]
    line = [sys.executable, "-m", "orchestrator", verb, *words, *own]
    return subprocess.run(line, capture_output=True, check=True, text=True, timeout=60).stderr


def replica_of_a_request(system: System) -> str:
    answer = httpx.post(
        f"{system.url}/v1/completions", json={"prompt": "Who?", "max_tokens": 3}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["x-blockyard-replica"]


def test_the_choices_of_the_command_line_reach_the_replicas(system: System) -> None:
    for state in system.replicas():
        card = state.record.card
        assert (state.snapshot.blocks_total, card.block_size) == (BLOCKS, BLOCK_SIZE)
        assert card.dtype == "bfloat16"
    assert system.members() == {state.record.replica_id for state in system.replicas()}


def test_the_control_plane_answers_members_and_nobody_else(system: System) -> None:
    assert system.replicas()
    stranger = ControlDoor(system.control.address, Transport())
    with pytest.raises(ConnectionError, match="no control plane answers"):
        operator_client.fleet(stranger)


@pytest.mark.parametrize("program", strangers.CALLS)
def test_no_port_of_ray_serves_who_does_not_know_the_token_of_this_run(
    system: System, program: str
) -> None:
    answers = strangers.answers(program)
    assert grpc.StatusCode.UNAUTHENTICATED in answers
    assert grpc.StatusCode.OK not in answers


def test_blocks_of_every_replica_are_in_the_metrics(system: System) -> None:
    names = [state.record.replica_id for state in system.replicas()]
    wanted = [
        f'blockyard_kv_blocks{{replica="{name}",state="{state}"}}'
        for name in names
        for state in ("free", "cached", "shared", "private")
    ]
    wait_for(
        lambda: all(line in system.metrics() for line in wanted),
        within_s=60,
        what="the gateway has heard every replica",
    )


def test_a_request_without_max_tokens_is_served_by_a_pool_smaller_than_the_context(
    system: System,
) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    with httpx.stream(
        "POST", f"{system.url}/v1/chat/completions", json=body, timeout=60
    ) as response:
        assert response.status_code == 200
        first = next(line for line in response.iter_lines() if line.startswith("data: "))
    assert "error" not in json.loads(first.removeprefix("data: "))


def test_a_drained_replica_gets_no_more_requests_and_the_other_serves(system: System) -> None:
    drained, kept = sorted(state.record.replica_id for state in system.replicas())
    said = command(system, "drain", drained)
    assert "drained, 0 sequences left" in said
    states = {state.record.replica_id: state.state for state in system.replicas()}
    assert states[drained] == "drained"
    assert states[kept] == "active"
    wait_for(
        lambda: {replica_of_a_request(system) for _ in range(4)} == {kept},
        within_s=60,
        what="every request goes to the replica that is left",
    )
