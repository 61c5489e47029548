"""The bounds of the request path."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.gateway.locator import LocatorConfig
from orchestrator.policy.admit import AdmitConfig


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    admit: AdmitConfig = field(default_factory=AdmitConfig)
    locate: LocatorConfig = field(default_factory=LocatorConfig)
    attempts_max: int = 3  # replicas tried in a row without a token
    losses_max: int = 3  # replicas that die under a request before it is taken for the cause
    queue_ns_max: int = 30_000_000_000  # patience of a client that names no deadline
    hits_age_ns_max: int = 250_000_000  # a request that waited longer looks for hits again
