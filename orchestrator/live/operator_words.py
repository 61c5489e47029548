"""What the control plane tells an operator, as protobuf says it."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.control.decisions import Decision
from orchestrator.control.orchestrator import Orchestrator
from orchestrator.control.tracked import ReplicaStatus
from orchestrator.policy.fleet import OrderedMove
from orchestrator.policy.rebalance import Figures, Rebalance
from orchestrator.policy.rebalance_config import KNOBS, NS_PER_MS, RebalanceConfig, knob_text
from protos import control_pb2
from protos.convert import record_to_proto, snapshot_to_proto
from protos.convert_moves import sequence_to_proto


def fleet_to_proto(
    orchestrator: Orchestrator, now_ns: int, *, sequences: bool
) -> control_pb2.StatusResponse:
    """Every replica, and the moves between them."""
    return control_pb2.StatusResponse(
        replicas=[
            status_to_proto(status, sequences=sequences) for status in orchestrator.status(now_ns)
        ],
        moves=[move_to_proto(move, now_ns) for move in orchestrator.moves.under_way()],
    )


def status_to_proto(status: ReplicaStatus, *, sequences: bool) -> control_pb2.ReplicaStatus:
    return control_pb2.ReplicaStatus(
        record=record_to_proto(status.record),
        snapshot=snapshot_to_proto(status.snapshot),
        state=status.phase.value,
        standing=status.standing.value,
        sequences=[sequence_to_proto(s) for s in status.sequences] if sequences else (),
        is_fresh=status.is_fresh,
    )


def move_to_proto(move: OrderedMove, now_ns: int) -> control_pb2.MoveStatus:
    return control_pb2.MoveStatus(
        move_id=move.move_id,
        sequence_id=move.sequence.sequence_id,
        request_id=move.sequence.request_id,
        source=move.source,
        target=move.target or "",
        reason=move.reason.value,
        blocks=move.sequence.blocks,
        age_ms=(now_ns - move.ordered_ns) // NS_PER_MS,
    )


def rebalance_to_proto(result: Rebalance) -> control_pb2.RebalanceResponse:
    return control_pb2.RebalanceResponse(
        moves=[
            control_pb2.PlannedMove(
                reason=move.reason.value,
                source=move.source,
                target=move.target or "",
                sequence_id=move.sequence.sequence_id,
                request_id=move.sequence.request_id,
                figures=figures_to_proto(move.figures),
            )
            for move in result.moves
        ],
        stays=[
            control_pb2.Stay(reason=stay.reason.value, source=stay.source, sequences=stay.sequences)
            for stay in result.stays
        ],
    )


def decision_to_proto(decision: Decision, now_ns: int) -> control_pb2.Decision:
    return control_pb2.Decision(
        number=decision.number,
        age_ms=(now_ns - decision.at_ns) // NS_PER_MS,
        kind=decision.kind.value,
        reason=decision.reason.value,
        replica_id=decision.replica_id or "",
        target=decision.target or "",
        request_id=decision.request_id or "",
        sequence_id=decision.sequence_id or "",
        move_id=decision.move_id or "",
        detail=decision.detail,
        figures=figures_to_proto(decision.figures),
    )


def figures_to_proto(figures: Figures) -> Iterable[control_pb2.Figure]:
    return [control_pb2.Figure(name=name, value=value) for name, value in figures]


def policy_to_proto(policy: RebalanceConfig) -> control_pb2.Policy:
    return control_pb2.Policy(
        knobs=[
            control_pb2.Knob(name=name, value=knob_text(policy, name), meaning=meaning)
            for name, meaning in KNOBS.items()
        ]
    )
