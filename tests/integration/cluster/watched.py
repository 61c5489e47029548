"""A cluster of processes that tests may look into."""

from __future__ import annotations

from orchestrator.live.chaos.processes import Processes
from orchestrator.live.operator_client import ReplicaState
from protos.messages import SequenceReport

QUIET_S = 120  # on a machine that does much else


class Watched(Processes):
    """What the leader knows of it, put as tests ask for it."""

    def states(self) -> tuple[ReplicaState, ...]:
        return self.fleet().replicas

    def sequences(self) -> dict[str, tuple[SequenceReport, ...]]:
        """What runs and waits, by replica."""
        return {state.record.replica_id: state.sequences for state in self.states()}

    def whereabouts(self, name: str) -> tuple[str, SequenceReport] | None:
        """The replica that has the (first) sequence of the request that its client named so."""
        for replica_id, sequences in self.sequences().items():
            for sequence in sequences:
                if sequence.request_id.startswith(f"{name}-"):
                    return replica_id, sequence
        return None

    def wait_until_quiet(self) -> None:
        self.wait_until(self.is_quiet, within_s=QUIET_S, what="all blocks given back")
