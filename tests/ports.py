"""Free ports for servers that must be told theirs."""

from __future__ import annotations

from itertools import islice

from orchestrator.live import free_ports as live


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    ports = list(islice(live.free_ports(), count))
    assert len(ports) == count, "nearly all ports are taken"
    return ports
