"""The bounds of the request path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.gateway.locator import LocatorConfig
from orchestrator.gateway.search import SearchConfig
from orchestrator.policy.admit import AdmitConfig
from orchestrator.policy.queue import QueueConfig
from protos.messages import RequestClass

NS_PER_S = 1_000_000_000


def default_patience() -> Mapping[RequestClass, int]:
    return {RequestClass.AGENT: 120 * NS_PER_S, RequestClass.BATCH: 3600 * NS_PER_S}


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    admit: AdmitConfig = field(default_factory=AdmitConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    locate: LocatorConfig = field(default_factory=LocatorConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    attempts_max: int = 3  # replicas tried in a row without a token
    losses_max: int = 3  # replicas that die under a request before it is taken for the cause
    queue_ns_max: int = 30 * NS_PER_S  # patience of a client that names no deadline
    # The same for classes that wait longer.
    patience_ns: Mapping[RequestClass, int] = field(default_factory=default_patience)
    hits_age_ns_max: int = 250_000_000  # a request that waited longer looks for hits again

    def patience_of(self, request_class: RequestClass) -> int:
        """How long a request of this class may wait if its client does not say."""
        return self.patience_ns.get(request_class, self.queue_ns_max)
