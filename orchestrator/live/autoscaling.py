"""Ray Serve starts and ends replicas as policy/scale.py says.

Serve asks each replica actor for its figures every second (`figures`), keeps
them, and asks our policy for a number of replicas several times a second. The
policy runs in Serve's controller: it looks at the newest figures of the
replicas that run, and decides without Serve's own delays and factors. What a
gateway's line holds comes by way of any one replica (`line_figure`), since
Serve has no other way from one deployment to the policy of another.

Serve ends the newest replicas first, each by a shutdown in order that moves
its sequences out (deployments.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from ray.exceptions import RayError
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from orchestrator.config import Deployment
from orchestrator.policy.scale import (
    Calm,
    ReplicaLoad,
    ScaleConfig,
    ScaleView,
    load_of,
    replicas_wanted,
)
from protos.messages import Snapshot

log = logging.getLogger(__name__)

NS_PER_S = 1_000_000_000
FIGURES_EVERY_S = 1.0
FIGURES_KEPT_S = 5.0  # as Serve asks for a span; only the newest ones are looked at
LINE_KEPT_S = 3 * FIGURES_EVERY_S  # without news of it
LINE = "line_requests:"  # and the gateway's name

# Serve's name of a replica is opaque here.
Series = Mapping[Any, Sequence["Point"]]


class Point(Protocol):
    """One figure at one time, as Serve keeps it."""

    timestamp: float
    value: float


def figures(snapshot: Snapshot) -> dict[str, float]:
    """What the policy must know of a replica, as Serve carries it: numbers by name."""
    load = asdict(load_of(snapshot))
    return {name: float(value) for name, value in load.items() if value is not None}


def line_figure(gateway: str) -> str:
    """The name under which a replica passes on how long a gateway's line is."""
    return LINE + gateway


class Lines:
    """Gateways' lines, as one replica has heard of them."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[int, float]] = {}

    def hear(self, gateway: str, requests: int) -> None:
        self._heard[gateway] = requests, time.monotonic()

    def figures(self) -> dict[str, float]:
        """What was heard a short while ago; the gateway may tell another replica since."""
        oldest = time.monotonic() - LINE_KEPT_S
        self._heard = {name: told for name, told in self._heard.items() if told[1] > oldest}
        return {line_figure(name): requests for name, (requests, _) in self._heard.items()}


async def tell_line(
    replicas: DeploymentHandle[Any], gateway: str, waiting: Callable[[], int]
) -> None:
    """Tell some replica how long the line is, again and again while there is one."""
    told = 0
    while True:
        requests = waiting()
        if requests or told:
            try:
                async with asyncio.timeout(FIGURES_EVERY_S):
                    await replicas.hear_line.remote(gateway, requests)
                told = requests
            except (RayError, RayServeException, TimeoutError) as error:
                log.warning("no replica could be told of the gateway's line: %r", error)
        await asyncio.sleep(FIGURES_EVERY_S)


def autoscaling(deployment: Deployment) -> AutoscalingConfig | None:
    """For Serve; None where the number of replicas is fixed."""
    if deployment.replicas_least == deployment.replicas_most:
        return None
    with warnings.catch_warnings():
        # Serve says to set the interval by an environment variable that it does not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=deployment.replicas_least,
            initial_replicas=deployment.replicas,
            max_replicas=deployment.replicas_most,
            metrics_interval_s=FIGURES_EVERY_S,
            look_back_period_s=FIGURES_KEPT_S,
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
                policy_function=f"{__name__}:ScaleByLoad",
                policy_kwargs={"quiet_s": deployment.scale_in_after_s},
            ),
        )


class ScaleByLoad:
    """The policy as Serve calls it, from one object for the life of a deployment."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_ns = round(quiet_s * NS_PER_S)
        self._calm: Calm | None = None

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        config = ScaleConfig(
            replicas_min=max(1, context.capacity_adjusted_min_replicas),
            replicas_max=max(1, context.capacity_adjusted_max_replicas),
            quiet_ns=self._quiet_ns,
        )
        series: Mapping[str, Series] = context.raw_metrics or {}
        view = ScaleView(
            now_ns=round((context.current_time or 0.0) * NS_PER_S),
            target=context.target_num_replicas,
            ready=loads(series),
            line_requests=line_requests(series),
            calm=self._calm,
        )
        scale = replicas_wanted(view, config)
        if scale.count != view.target:
            log.info("from %d to %d replicas: %s", view.target, scale.count, scale.reason.value)
        self._calm = scale.calm
        return scale.count, {}


def loads(series: Mapping[str, Series]) -> tuple[ReplicaLoad, ...]:
    """The newest figures of each replica that has reported."""
    reported = series.get("blocks_total", {})
    return tuple(
        load({name: of[replica][-1].value for name, of in series.items() if of.get(replica)})
        for replica in reported
        if reported[replica]
    )


def load(newest: Mapping[str, float]) -> ReplicaLoad:
    """What `figures` was made of."""
    return ReplicaLoad(
        blocks_total=int(newest["blocks_total"]),
        blocks_used=int(newest["blocks_used"]),
        blocks_waiting=int(newest["blocks_waiting"]),
        prefill_tokens_waiting=int(newest["prefill_tokens_waiting"]),
        sequences=int(newest["sequences"]),
        prefill_tokens_per_s=newest.get("prefill_tokens_per_s"),
        is_open=bool(newest["is_open"]),
    )


def line_requests(series: Mapping[str, Series]) -> int:
    """Those in all gateways' lines, each line as it was last told to any replica."""
    lines = (of for name, of in series.items() if name.startswith(LINE))
    newest = (max(told, key=at) for of in lines if (told := [p[-1] for p in of.values() if p]))
    return sum(int(point.value) for point in newest)


def at(point: Point) -> float:
    return point.timestamp
