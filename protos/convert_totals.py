"""Totals in a replica's report on the wire: of its steps, and of its copies.

They go out with every report, and nothing is sent for none.
"""

from __future__ import annotations

from dataclasses import fields

from protos import control_pb2 as pb
from protos.messages import NO_COPIES, NO_STEPS, CopyTotals, StepTotals

_NAMES = tuple(field.name for field in fields(StepTotals))  # the same in both


def totals_to_proto(totals: StepTotals) -> pb.StepTotals | None:
    if totals == NO_STEPS:
        return None
    return pb.StepTotals(**{name: getattr(totals, name) for name in _NAMES})


def totals_from_proto(message: pb.Snapshot) -> StepTotals:
    """Those of a report."""
    if not message.HasField("totals"):
        return NO_STEPS
    return StepTotals(*[getattr(message.totals, name) for name in _NAMES])


def copies_to_proto(copies: CopyTotals) -> pb.CopyTotals | None:
    if copies == NO_COPIES:
        return None
    return pb.CopyTotals(blocks=copies.blocks, held_ns=copies.held_ns, ended=dict(copies.ended))


def copies_from_proto(message: pb.Snapshot) -> CopyTotals:
    """Those of a report."""
    if not message.HasField("copies"):
        return NO_COPIES
    copies = message.copies
    ended = tuple(sorted(copies.ended.items()))
    return CopyTotals(blocks=copies.blocks, held_ns=copies.held_ns, ended=ended)
