"""What a deployment may set about its prefix registry.

Every wait on the server has its bound here. Replicas and gateways of one
cluster must agree on `prefix` and `lease_ms`; the rest is each process's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Names, leases and bounds of one registry."""

    prefix: str = "orch:"  # of every key; an ACL user may be limited to it
    lease_ms: int = 3000  # a replica silent for longer is in no answer
    slots_max: int = 1024  # replicas with a live lease at one time
    # One answer of the server, and the wait for a free connection. A third of a lease: who renews
    # can fail once and still be in time. Requests wait for less (gateway/locator.py).
    operation_ms: int = 1000
    connect_ms: int = 1000
    connections_max: int = 32  # of one process; more callers than that wait for one

    def __post_init__(self) -> None:
        for name in ("lease_ms", "slots_max", "operation_ms", "connect_ms", "connections_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"registry setting {name} must be positive")
