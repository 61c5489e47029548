"""deploy/METRICS.md says of every metric what the processes show, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.core import Metric

from orchestrator.control.orchestrator import OrchestratorConfig
from orchestrator.gateway.announcement_metrics import AnnouncementCollector
from orchestrator.gateway.dispatch_metrics import DispatchCollector
from orchestrator.gateway.fleet_metrics import FleetCollector
from orchestrator.gateway.key_metrics import KeyCollector
from orchestrator.gateway.keyring import Keys
from orchestrator.gateway.meter import RateLimits
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.gateway.rate_counts import RateCounts
from orchestrator.live.clock import OsClock
from orchestrator.live.control_metrics import ControlCollector
from orchestrator.live.control_room import ControlRoom
from tests.unit.dispatch.virtual_time import run
from tests.unit.dispatch.world import ScriptedReplica, tidy

TABLE = Path(__file__).parents[3] / "deploy" / "METRICS.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.M)
Line = tuple[str, str, frozenset[str]]  # name, type, labels


def told() -> list[Line]:
    """What the table says. Counters are named as Prometheus shows them."""
    return [
        (name, kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _, _ in ROW.findall(TABLE.read_text())
    ]


def line_of(family: Metric) -> Line:
    suffix = "_total" if family.type == "counter" else ""
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return family.name + suffix, family.type, frozenset(labels)


def shown() -> set[Line]:
    """Of a gateway that knows a replica and has keys, and of a control plane that leads."""
    families: list[Metric] = []

    async def scenario() -> None:
        async with tidy(ScriptedReplica("a")) as made:
            families.extend(DispatchCollector(made.dispatch).collect())
            families.extend(FleetCollector(made.cluster, OsClock()).collect())

    run(scenario())
    families.extend(GatewayMetrics().collect())
    families.extend(AnnouncementCollector(lambda: 0).collect())
    keys = Keys(RateLimits(RateCounts(OsClock())))
    families.extend(KeyCollector(keys, lambda: True).collect())
    families.extend(ControlCollector(leading_room()).collect())
    return {line_of(family) for family in families}


def leading_room() -> ControlRoom:
    room = ControlRoom(OrchestratorConfig(), OsClock(), streams_max=1, commands_max=1)
    room.lead(1, {})
    return room


def test_the_table_has_every_metric_with_its_type_and_its_labels() -> None:
    """Power: a label that is dropped from a row, or a row, is missed."""
    lines = told()
    assert len(lines) == len(set(lines)), "a metric twice"
    assert set(lines) == shown()


def test_every_row_of_the_table_is_read() -> None:
    assert TABLE.read_text().count("\n| `blockyard_") == len(told())


def test_every_name_is_ours_and_says_what_it_is() -> None:
    for name, kind, _ in told():
        assert name.startswith("blockyard_")
        assert name.endswith("_total") == (kind == "counter")
        assert name.endswith("_seconds") or kind != "histogram"
