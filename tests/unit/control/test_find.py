"""What an operator may call a sequence."""

from __future__ import annotations

import pytest

from orchestrator.control.find import sequences_named
from orchestrator.control.phases import ReplicaPhase
from orchestrator.control.tracked import ReplicaStatus
from protos.messages import (
    RequestClass,
    RequestId,
    SequenceId,
    SequenceReport,
    Standing,
)
from tests.unit.control.reports import record, report


def sequence(sequence_id: str, request_id: str, choice: int = 0) -> SequenceReport:
    return SequenceReport(
        SequenceId(sequence_id),
        RequestId(request_id),
        choice,
        RequestClass.INTERACTIVE,
        tenant="",
        tokens=1,
        blocks=1,
        blocks_own=1,
        tokens_left_max=1,
        is_waiting=False,
        is_movable=True,
    )


STATUS = ReplicaStatus(
    record(),
    report(),
    ReplicaPhase.ACTIVE,
    Standing.OPEN,
    (
        sequence("1:mine-0a1b2c3d/0", "mine-0a1b2c3d", 0),
        sequence("1:mine-0a1b2c3d/1", "mine-0a1b2c3d", 1),
        sequence("2:mine-ffffffff/0", "mine-ffffffff"),
        sequence("3:req-77-12345678/0", "req-77-12345678"),
    ),
    is_fresh=True,
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("1:mine-0a1b2c3d/1", ["1:mine-0a1b2c3d/1"]),
        ("mine-0a1b2c3d/1", ["1:mine-0a1b2c3d/1"]),
        ("mine-0a1b2c3d", ["1:mine-0a1b2c3d/0", "1:mine-0a1b2c3d/1"]),
        ("chatcmpl-mine-ffffffff", ["2:mine-ffffffff/0"]),
        ("cmpl-mine-ffffffff/0", ["2:mine-ffffffff/0"]),
        ("req-77", ["3:req-77-12345678/0"]),
        ("mine", ["1:mine-0a1b2c3d/0", "1:mine-0a1b2c3d/1", "2:mine-ffffffff/0"]),
        ("req", []),
        ("", []),
    ],
)
def test_a_name_means_what_it_can_mean_most_narrowly(name: str, found: list[str]) -> None:
    assert [one.sequence.sequence_id for one in sequences_named([STATUS], name)] == found
