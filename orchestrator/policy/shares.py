"""Fair shares of memory among the tenants of one class, in block-nanoseconds.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) with one tag for each
tenant: its virtual time, which grows by what it is given divided by its
weight. Whoever is least goes next, so between two tenants that both wait the
virtual times never differ by more than the cost of one request.

The class has a virtual time, too: that of whoever went last. A tenant that
begins to wait starts there at the earliest: being idle saves nothing up.
What was charged is a prediction, corrected when the request has ended.

Bounded: a tenant that does not wait and is not ahead of the class is
forgotten, for it would start anew just the same. Of those ahead, as many are
remembered as the configuration says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SharesConfig:
    weights: Mapping[str, int] = field(default_factory=dict)  # of tenants; 1 for all others
    idle_tenants_max: int = 1024  # remembered; of more, the longest idle is forgiven


class Shares:
    """The tenants' accounts. Those that wait are told apart from those that do not."""

    def __init__(self, config: SharesConfig) -> None:
        self._config = config
        self._now = 0  # the class's virtual time
        self._waiting: dict[str, int] = {}
        self._idle: dict[str, int] = {}  # the longest idle first

    def of(self, tenant: str) -> int:
        """The tenant's virtual time; where it would start, if it does not wait."""
        waiting = self._waiting.get(tenant)
        return max(self._now, self._idle.get(tenant, 0)) if waiting is None else waiting

    def begin(self, tenant: str) -> None:
        """The first request of the tenant waits. Safe to repeat."""
        self._waiting[tenant] = self.of(tenant)
        self._idle.pop(tenant, None)

    def rest(self, tenant: str) -> None:
        """No request of the tenant waits any more."""
        virtual = self._waiting.pop(tenant)
        if virtual > self._now:
            self._idle[tenant] = virtual
        while len(self._idle) > self._config.idle_tenants_max:
            del self._idle[next(iter(self._idle))]

    def charge(self, tenant: str, cost: int) -> None:
        """The tenant was given so much."""
        if tenant in self._waiting:
            self._now = max(self._now, self._waiting[tenant])
            self._waiting[tenant] += cost // self._weight(tenant)
        else:
            self.begin(tenant)
            self.charge(tenant, cost)
            self.rest(tenant)

    def correct(self, tenant: str, difference: int) -> None:
        """What it was given cost so much more, or less, than was charged.

        Where nothing was, as for a stream that began at another gateway, the
        tenant may have no account: more is charged then, less was forgiven.
        """
        share = difference // self._weight(tenant)
        for accounts in (self._waiting, self._idle):
            if tenant in accounts:
                accounts[tenant] = max(0, accounts[tenant] + share)
                return
        if difference > 0:
            self.charge(tenant, difference)

    @property
    def remembered(self) -> int:
        """Tenants with an account."""
        return len(self._waiting) + len(self._idle)

    def _weight(self, tenant: str) -> int:
        return self._config.weights.get(tenant, 1)
