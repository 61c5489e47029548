"""A real cluster behind a URL: its own metrics and its control plane say that nothing is left."""

from __future__ import annotations

import pytest

from orchestrator.chaos.scenario import Load, Scenario, Shape
from orchestrator.live.chaos import target
from orchestrator.live.chaos.processes import Processes
from orchestrator.live.chaos.target import target_cluster
from orchestrator.workload.heard import End

CHAT = Load("chat", "interactive", 4.0, 64, (10, 40), (8, 24), variety=4)
LEAVING = Load("gone", "agent", 2.0, 0, (10, 40), (100, 200), leaves=1.0, variety=2)


def calm(*loads: Load) -> Scenario:
    return Scenario("calm", "Nothing happens.", 2.0, Shape(), loads)


def test_a_calm_run_loses_nothing_and_leaves_nothing(
    cluster: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "CALM_S", 60.0)  # whatever others have left here ends by then
    told: list[str] = []
    gateway, control = cluster.gateways[0].address, cluster.control.address
    with target_cluster(gateway, model=None, control=control, kubectl=None) as world:
        first = world.play(calm(CHAT, LEAVING), 1, told.append)
        second = world.play(calm(CHAT), 2, told.append)
    for observed in (first, second):
        assert {heard.end for heard in observed.heard} <= {End.ANSWERED, End.LEFT}
        assert {heard.end for heard in observed.heard if heard.tag == "chat"} == {End.ANSWERED}
        assert observed.totals["bodies_not_repeatable"] == 0
        for heard in observed.heard:
            for said, whole in zip(heard.said, observed.expected[heard.number], strict=True):
                assert whole.startswith(said)
                assert said == whole or heard.end is End.LEFT
        assert observed.leaks == ()
        assert observed.totals["leak_checks_skipped"] == 0
        assert "preemptions" in observed.totals
    assert [one for one in told if "new bodies" in one] == [
        "6 new bodies asked; 0 do not say the same twice",
        "0 new bodies asked; 0 do not say the same twice",
    ]
