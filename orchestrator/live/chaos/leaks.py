"""What a cluster at rest still holds: by its leader, by its gateways, by its registry.

A cluster at rest has nothing in use: no blocks in tables, no sequences, no
moves, no requests, no promises. Its registry names the replicas that there
are, under the epochs that they report, and of blocks exactly what these keep
in their caches. Each exception is a sentence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from orchestrator.live.chaos.processes import Processes
from orchestrator.live.operator_client import FleetState, ReplicaState
from orchestrator.registry.audit import SlotHoldings, holdings
from orchestrator.registry.config import RegistryConfig
from protos.messages import ReplicaId
from protos.registry import RegistryUnavailable

AUDIT = RegistryConfig(operation_ms=5_000)  # nobody waits for it
# Of a gateway, each zero when it has nothing to do.
GAUGES = (
    "blockyard_requests_in_flight",
    "blockyard_requests_waiting",
    "blockyard_kv_blocks_promised",
)
SAMPLE = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


def leaks(cluster: Processes) -> tuple[str, ...]:
    """Empty when all is quiet and nothing is left over."""
    fleet = cluster.fleet()
    try:
        slots = asyncio.run(holdings(cluster.redis_url, AUDIT))
    except RegistryUnavailable as error:
        return (f"the registry cannot be looked into: {error}",)
    return (
        *of_fleet(fleet, cluster.replicas),
        *(each for name, text in cluster.metrics().items() for each in of_gateway(name, text)),
        *of_registry(slots, fleet.replicas),
    )


def of_gateway(name: str, metrics: str) -> Iterator[str]:
    for metric, labels, value in SAMPLE.findall(metrics):
        if metric in GAUGES and float(value):
            yield f"{name} counts {float(value):.0f} {metric}{labels}"


def of_registry(slots: Iterable[SlotHoldings], states: Sequence[ReplicaState]) -> Iterator[str]:
    """Entries that no replica of the fleet answers for."""
    known = {state.record.replica_id: state for state in states}
    for slot in slots:
        if slot.lease is None:
            if slot.listed or slot.marked:
                count = len(slot.listed | slot.marked)
                yield f"the registry keeps {count} blocks in slot {slot.slot}, which nobody has"
            if slot.record_epoch is not None:
                yield f"the registry describes a replica in slot {slot.slot}, which nobody has"
        else:
            yield from _of_slot(slot, slot.lease.epoch, slot.lease.replica_id, known)


def _of_slot(
    slot: SlotHoldings, epoch: int, replica_id: ReplicaId, known: Mapping[ReplicaId, ReplicaState]
) -> Iterator[str]:
    state = known.get(replica_id)
    if state is None:
        yield f"the registry has a lease of {replica_id}, which is gone"
        return
    if epoch != state.snapshot.epoch:
        yield f"the registry has {replica_id} in epoch {epoch}, it is in {state.snapshot.epoch}"
    if slot.record_epoch != epoch:
        yield f"the registry describes {replica_id} as of another epoch, {slot.record_epoch}"
    if strays := slot.listed ^ slot.marked:
        yield f"the registry contradicts itself about {len(strays)} blocks of {replica_id}"
    if len(slot.listed) != state.snapshot.blocks_cached:
        yield (
            f"the registry names {len(slot.listed)} blocks of {replica_id}, "
            f"which keeps {state.snapshot.blocks_cached}"
        )


def of_fleet(fleet: FleetState, replicas: Iterable[str]) -> Iterator[str]:
    """What is in use by what the leader knows, and where it does not know `replicas`."""
    states = {str(state.record.replica_id): state for state in fleet.replicas}
    for name in sorted(set(replicas) - set(states)):
        yield f"the leader does not know {name}"
    for name in sorted(set(states) - set(replicas)):
        yield f"the leader knows {name}, which is gone"
    for name, state in states.items():
        if not state.is_fresh:
            yield f"{name} has not reported lately"
        snapshot = state.snapshot
        for count, what in (
            (snapshot.blocks_used, "blocks in use"),
            (snapshot.sequences_running, "sequences running"),
            (snapshot.sequences_waiting, "sequences waiting"),
        ):
            if count:
                yield f"{name} has {count} {what}"
        if snapshot.draining:
            yield f"{name} takes no work"
    for move in fleet.moves:
        yield f"a move of {move.sequence_id} is under way"
