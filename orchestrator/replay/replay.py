"""Decide recorded placements once more, and say where the outcome differs.

The policy is a function of what was recorded and nothing else: no clock, no
registry, no order of dictionaries. So the same policy must choose the same, and
one that was changed shows the first request that it would have placed otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.policy.route import Placement, Route, route
from orchestrator.replay.plain import encode
from orchestrator.replay.recording import Decision


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision that came out otherwise. Decisions count from 1."""

    number: int
    decision: Decision
    replayed: Placement | None

    def sentence(self) -> str:
        """For people: what was recorded, and what came now."""
        recorded, replayed = self.decision.placement, self.replayed
        request_id = self.decision.subject.request_id
        if recorded is None or replayed is None:
            said = f"recorded {_where(recorded)}, now {_where(replayed)}"
        else:
            said = "; ".join(_changes("", encode(recorded), encode(replayed)))
        return f"decision {self.number}, request {request_id}: {said}"


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a recording."""

    decisions: int  # decided once more, the one that differs included
    difference: Difference | None


def replay(decisions: Iterable[Decision], choose: Route = route) -> Replay:
    """All of them, or up to the first difference. Raises what reading them does."""
    number = 0
    for number, decision in enumerate(decisions, start=1):
        placement = choose(decision.view, decision.subject, decision.hits, decision.config)
        if placement != decision.placement:
            return Replay(number, Difference(number, decision, placement))
    return Replay(number, None)


def _where(placement: Placement | None) -> str:
    return "no replica" if placement is None else placement.replica_id


def _changes(name: str, recorded: object, replayed: object) -> list[str]:
    """Each field that differs, by its path."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        return [
            change
            for key in recorded
            for change in _changes(f"{name}.{key}" if name else key, recorded[key], replayed[key])
        ]
    return [] if recorded == replayed else [f"{name} recorded {recorded}, now {replayed}"]
