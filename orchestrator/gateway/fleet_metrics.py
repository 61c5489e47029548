"""What the replicas report, as metrics read when somebody asks for them.

A collector, not gauges that are set: the reports are here already, so a request
pays nothing. Every gateway hears every replica: whoever adds up replicas takes
each once (`max by (replica)`). The counters are the replica's own, and begin at
zero with its epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.control.cluster import Cluster
from orchestrator.control.seams import Clock
from orchestrator.gateway.metrics import PREFIX
from orchestrator.policy.scores import NS_PER_S
from protos.messages import Snapshot
from protos.moves import CopyOutcome

Reading = tuple[str, Callable[[Snapshot], float]]

GAUGES: Mapping[str, Reading] = {
    "num_requests_running": ("Sequences in the batch", lambda r: r.sequences_running),
    "num_requests_waiting": ("Sequences queued at the replica", lambda r: r.sequences_waiting),
    "kv_cache_usage_perc": (
        "Share of the KV blocks that is in a block table; 1 is all of them",
        lambda r: r.blocks_used / max(1, r.blocks_total),
    ),
    "kv_blocks_unreclaimable": (
        "KV blocks in use that no preemption gives to an interactive request",
        lambda r: r.blocks_unreclaimable,
    ),
    "kv_slots_unused": (
        "Token slots in block tables that hold nothing and wait for no prefill",
        lambda r: r.slots_unused,
    ),
    "host_blocks_used": (
        "KV blocks of paused sequences in host memory",
        lambda r: r.host_blocks_used,
    ),
    "host_cache_usage_perc": (
        "Share of the host memory for them; 0 where there is none",
        lambda r: r.host_blocks_used / max(1, r.host_blocks_total),
    ),
    "replica_step_seconds": ("Recent mean duration of a step", lambda r: r.step_ns / NS_PER_S),
}
COUNTERS: Mapping[str, Reading] = {
    "prefill_tokens": (
        "Prompt tokens computed for the first time",
        lambda r: r.counters.prefill_tokens,
    ),
    "decode_tokens": (
        "Tokens computed one by one, after the prompt",
        lambda r: r.counters.decode_tokens,
    ),
    "hit_tokens": ("Prompt tokens found in the prefix cache", lambda r: r.counters.hit_tokens),
    "steps": ("Forward passes", lambda r: r.counters.steps),
    "step_rows": ("Sequences in the batches of all steps", lambda r: r.totals.rows),
    "replica_admissions": ("Choices in their first step", lambda r: r.totals.admitted),
    "replica_queue_seconds": (
        "For how long choices had waited at the replica for their first step, together",
        lambda r: r.totals.queue_ns / NS_PER_S,
    ),
    "num_preemptions": ("Sequences whose blocks were taken", lambda r: r.counters.preemptions),
    "recomputed_tokens": (
        "Tokens computed again after a preemption",
        lambda r: r.counters.recomputed_tokens,
    ),
    "sequences_paused": (
        "Sequences whose blocks were taken and saved in host memory",
        lambda r: r.counters.pauses,
    ),
    "restored_tokens": (
        "Tokens whose KV was loaded from host memory instead of computed again",
        lambda r: r.counters.restored_tokens,
    ),
    "guessed_tokens": (
        "Tokens fed in the hope that they would be chosen",
        lambda r: r.counters.guessed_tokens,
    ),
    "accepted_tokens": (
        "Guessed tokens that were chosen: without a step of their own",
        lambda r: r.counters.accepted_tokens,
    ),
    "kv_blocks_copied": (
        "Cached KV blocks that came from other replicas for requests that had not begun",
        lambda r: r.copies.blocks,
    ),
    "copy_wait_seconds": (
        "For how long requests waited for such blocks, together",
        lambda r: r.copies.held_ns / NS_PER_S,
    ),
}
# They are disjoint, and together all blocks.
STATES: Mapping[str, Callable[[Snapshot], int]] = {
    "free": lambda r: r.blocks_free,
    "cached": lambda r: r.blocks_cached,
    "shared": lambda r: r.blocks_shared,
    "private": lambda r: r.blocks_used - r.blocks_shared,
}
# They are disjoint, too, and together what a replica does for its steps.
PHASES: Mapping[str, Callable[[Snapshot], int]] = {
    "schedule": lambda r: r.totals.schedule_ns,
    "forward": lambda r: r.totals.forward_ns,
    "around": lambda r: r.totals.execute_ns - r.totals.forward_ns,
    "apply": lambda r: r.totals.apply_ns,
}
MOVED: Mapping[str, Callable[[Snapshot], int]] = {
    "in": lambda r: r.counters.sequences_imported,
    "out": lambda r: r.counters.sequences_exported,
}


class FleetCollector(Collector):
    """Of one gateway: what its replicas say, and what it has promised to them."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """One sample for each replica and metric, as it is now."""
        reports = self._cluster.reports()
        for name, (help_text, read) in GAUGES.items():
            gauge = _gauge(name, help_text)
            for report in reports:
                gauge.add_metric([report.replica_id], read(report))
            yield gauge
        for name, (help_text, read) in COUNTERS.items():
            counter = _counter(name, help_text)
            for report in reports:
                counter.add_metric([report.replica_id], read(report))
            yield counter
        blocks = _gauge("kv_blocks", "KV blocks by what they hold", "state")
        phases = _counter("step_phase_seconds", "What time steps took, by what it went to", "phase")
        moved = _counter("sequences_moved", "Sequences that moved with their KV", "direction")
        copies = _counter("copies", "Copies of blocks for a request, by how they ended", "outcome")
        for report in reports:
            for state, count in STATES.items():
                blocks.add_metric([report.replica_id, state], count(report))
            for phase, spent_ns in PHASES.items():
                phases.add_metric([report.replica_id, phase], spent_ns(report) / NS_PER_S)
            for direction, count in MOVED.items():
                moved.add_metric([report.replica_id, direction], count(report))
            ended = dict(report.copies.ended)
            for outcome in CopyOutcome:
                copies.add_metric([report.replica_id, outcome.value], ended.get(outcome.value, 0))
        yield blocks
        yield phases
        yield copies
        yield moved
        yield GaugeMetricFamily(
            f"{PREFIX}registry_staleness_seconds",
            "For how long the registry has not known the oldest change to any cache",
            max((report.registry_behind_ns for report in reports), default=0) / NS_PER_S,
        )
        yield from self._as_seen_here()

    def _as_seen_here(self) -> Iterable[Metric]:
        replicas = self._cluster.view(self._clock.now_ns()).replicas
        accepting = {replica.replica_id for replica in replicas if replica.accepts}
        up = _gauge("replica_up", "Whether this gateway sends requests to the replica")
        for member in self._cluster.members():
            replica_id = member.record.replica_id
            up.add_metric([replica_id], replica_id in accepting)
        promised = _gauge("kv_blocks_promised", "KV blocks of placements that no report shows")
        for replica in replicas:
            promised.add_metric([replica.replica_id], replica.blocks_promised)
        yield up
        yield promised


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}{name}", help_text, labels=["replica", *labels])


def _counter(name: str, help_text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}{name}", help_text, labels=["replica", *labels])
