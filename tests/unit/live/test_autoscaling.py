"""What Serve is told about the number of replicas, and what our policy reads of Serve's figures."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import ValidationError
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingConfig, AutoscalingContext
from ray.serve.exceptions import RayServeException

from orchestrator.config import Deployment
from orchestrator.live.autoscaling import (
    Lines,
    Series,
    autoscaling,
    figures,
    line_figure,
    tell_line,
)
from orchestrator.sim.loop import VirtualTimeLoop
from protos.messages import Snapshot
from tests.unit.control.reports import report

REDIS_URL = "redis://here:6379/0"


@dataclass
class Point:
    timestamp: float
    value: float


def deployment(**fields: Any) -> Deployment:
    return Deployment(redis_url=REDIS_URL, **fields)


def configured(**fields: Any) -> AutoscalingConfig:
    config = autoscaling(deployment(**fields))
    assert config is not None
    return config


def series(*snapshots: Snapshot, lines: dict[str, float] | None = None) -> dict[str, Series]:
    """As Serve hands on what replicas said, with an older figure before each newest one."""
    reported: dict[str, dict[str, list[Point]]] = {}
    for number, snapshot in enumerate(snapshots):
        for name, value in figures(snapshot).items():
            of = reported.setdefault(name, {})
            of[f"replica-{number}"] = [Point(1.0, math.nan), Point(2.0, value)]
    for gateway, length in (lines or {}).items():
        reported[line_figure(gateway)] = {"replica-0": [Point(2.0, length)]}
    return {name: dict(of) for name, of in reported.items()}


def context(config: AutoscalingConfig, target: int, raw: Any, now_s: float) -> AutoscalingContext:
    return AutoscalingContext(
        deployment_id=DeploymentID("replica", "blockyard"),
        deployment_name="replica",
        app_name="blockyard",
        current_num_replicas=target,
        target_num_replicas=target,
        running_replicas=[],
        total_num_requests=0.0,
        total_queued_requests=None,
        aggregated_metrics=None,
        raw_metrics=raw,
        capacity_adjusted_min_replicas=config.min_replicas,
        capacity_adjusted_max_replicas=config.max_replicas,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now_s,
        config=config,
    )


def wanted(config: AutoscalingConfig, target: int, raw: dict[str, Series]) -> int:
    """What a fresh policy, made as Serve makes it, answers."""
    policy = _resolve_policy_callable(config.policy)
    count, _ = policy(context(config, target, raw, now_s=100.0))
    assert isinstance(count, int)
    return count


def busy(used: int) -> Snapshot:
    full = report(number=1, used=used)
    return replace(full, sequences_running=max(1, used // 8))


def test_a_fixed_number_of_replicas_is_left_to_nobody() -> None:
    assert autoscaling(deployment(replicas=3)) is None
    assert autoscaling(deployment(replicas=3, min_replicas=3, max_replicas=3)) is None


def test_serve_begins_with_the_replicas_asked_for_and_keeps_to_the_bounds() -> None:
    config = configured(replicas=2, min_replicas=1, max_replicas=5)
    assert (config.min_replicas, config.initial_replicas, config.max_replicas) == (1, 2, 5)


def test_without_a_least_there_are_never_fewer_than_at_first() -> None:
    assert configured(replicas=2, max_replicas=5).min_replicas == 2


@pytest.mark.parametrize("fields", [{"min_replicas": 3}, {"max_replicas": 1}])
def test_bounds_that_exclude_the_first_replicas_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="2 replicas are not between"):
        deployment(replicas=2, **fields)


def test_a_full_replica_gets_company_and_an_idle_one_does_not() -> None:
    config = configured(replicas=1, max_replicas=4)
    total = busy(0).blocks_total
    assert wanted(config, 1, series(busy(total // 2))) == 1
    assert wanted(config, 1, series(busy(total))) == 2


def test_a_line_at_any_gateway_counts_as_its_newest_report_says() -> None:
    config = configured(replicas=1, max_replicas=4)
    raw = series(busy(8), lines={"gateway-a": 3.0, "gateway-b": 10_000.0})
    assert wanted(config, 1, raw) == 2
    later = {"replica-1": [Point(3.0, 0.0)]}
    raw[line_figure("gateway-b")] = {**raw[line_figure("gateway-b")], **later}
    assert wanted(config, 1, raw) == 1


def test_until_a_replica_has_reported_nothing_changes() -> None:
    assert wanted(configured(replicas=2, min_replicas=1, max_replicas=4), 2, {}) == 2


def test_one_policy_remembers_for_how_long_fewer_have_been_enough() -> None:
    config = configured(replicas=2, min_replicas=1, max_replicas=4, scale_in_after_s=30)
    policy = _resolve_policy_callable(config.policy)
    idle = series(busy(0), busy(0))
    answers = [policy(context(config, 2, idle, now_s=float(second)))[0] for second in range(31)]
    assert answers == [2] * 30 + [1]


class Handle:
    """Serve's handle of the replicas, as far as a gateway uses it; `is_down` when none answers."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.heard: list[int] = []
        self.is_down = False
        self.hear_line = self

    async def remote(self, gateway: str, requests: int) -> None:
        if self.is_down:
            raise RayServeException("nobody answers")
        self.lines.hear(gateway, requests)
        self.heard.append(requests)


def test_a_line_is_told_while_there_is_one_and_once_when_it_is_gone() -> None:
    handle = Handle()

    async def scene() -> None:
        line = 0
        handles: Any = handle
        telling = asyncio.create_task(tell_line(handles, "gateway-a", lambda: line))
        await asyncio.sleep(2.5)
        line = 4
        await asyncio.sleep(2)
        handle.is_down = True
        await asyncio.sleep(2)
        handle.is_down, line = False, 0
        await asyncio.sleep(10)
        telling.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scene())
    assert handle.heard == [4, 4, 0]
    assert handle.lines.figures() == {line_figure("gateway-a"): 0}
