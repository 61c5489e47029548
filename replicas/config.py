"""What one replica's shell is told: where it listens and how fast it reports.

The engine has its own configuration. Every bound of the shell is named here,
with what happens at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protos.messages import ReplicaId

# 25 Gbit/s: the slowest link that GPU nodes of a datacentre are sold with.
COPY_BYTES_PER_S = 3_125_000_000


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """Addresses, intervals and bounds of one replica."""

    replica_id: ReplicaId
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    advertise_host: str | None = None  # how others reach this replica; None: `host`
    advertise_port: int | None = None  # None: the one it listens on
    internal_tls: Path | None = None  # mutual TLS with the other members; None: in the clear
    health_port: int | None = None  # answers health alone, and in the clear; None: nowhere
    report_interval_ms: int = 250  # longest silence of a link, to gateway or control plane
    link_messages_max: int = 1024  # unsent messages of a gateway; at the bound its link is closed
    park_grace_ms: int = 10_000  # a choice that nobody follows is cancelled after this long
    parked_max: int = 1024  # such choices at once; beyond, the longest parked is cancelled
    park_tokens_max: int = 4096  # said by one of them with nobody to hear; beyond, it is cancelled
    warm_ms: int = 0  # a new replica waits so long at most for its first blocks; 0: it opens cold
    # What copies of cached blocks to here are assumed to cost until they were made: so long before
    # the first block, and then as fast as the link is. All copies out go together no faster than
    # that. 0: none are made in either direction, requests compute.
    copy_start_ms: int = 10
    copy_bytes_per_s: int = COPY_BYTES_PER_S
    lease_ms: int = 3000  # the registry's lease; renewed three times as often
    publish_interval_ms: int = 5  # block events wait at most this long for company
    publish_hashes_max: int = 512  # in one batch; a fuller one goes out at once
    retry_ms_max: int = 5000  # longest wait before looking for a lost peer again
    step_stuck_ms: int = 60_000  # a step that takes longer makes the replica unhealthy
    check_interval_ms: int = 1000  # the idle engine's invariants are checked no more often
