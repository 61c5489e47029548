"""What Serve is told about the three deployments, without a Serve."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import pytest

from orchestrator.config import Deployment
from orchestrator.live.app import build, serve_deployment
from orchestrator.live.deployments import GatewayActor

REDIS_URL = "redis://here:6379/0"


def test_serve_can_make_a_deployment_of_the_args_of_a_config_file() -> None:
    """Serve validates `args` only when the annotation is the class itself, not its name."""
    (parameter,) = inspect.signature(build).parameters.values()
    assert parameter.annotation is Deployment


def test_a_role_label_pins_each_deployment_to_the_nodes_of_its_name() -> None:
    deployment = Deployment(redis_url=REDIS_URL, role_label="yard/role")
    pinned = serve_deployment(GatewayActor, "gateway", deployment, {"num_cpus": 1})
    assert pinned.ray_actor_options is not None
    assert pinned.ray_actor_options["label_selector"] == {"yard/role": "gateway"}
    assert pinned.ray_actor_options["num_cpus"] == 1


def test_without_a_role_label_every_node_will_do() -> None:
    anywhere = serve_deployment(GatewayActor, "gateway", Deployment(redis_url=REDIS_URL), {})
    assert anywhere.ray_actor_options is not None
    assert not anywhere.ray_actor_options.get("label_selector")


def test_running_requests_get_the_whole_drain_before_serve_ends_an_actor() -> None:
    deployment = Deployment(redis_url=REDIS_URL, drain_s=120)
    gateway = serve_deployment(GatewayActor, "gateway", deployment, {})
    assert gateway._deployment_config.graceful_shutdown_timeout_s > 120


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("cpu", 0)])
def test_a_replica_asks_for_a_gpu_exactly_when_it_runs_on_one(
    device: Literal["cuda", "cpu"], gpus: int
) -> None:
    bound: Any = build(Deployment(redis_url=REDIS_URL, device=device))._bound_deployment
    replicas = bound.init_args[1]._bound_deployment
    assert replicas.name == "replica"
    assert replicas.ray_actor_options["num_gpus"] == gpus


def bound(name: str, **fields: Any) -> Any:
    """The deployment of this name, as `build` describes it to Serve."""
    gateway: Any = build(Deployment(redis_url=REDIS_URL, device="cpu", **fields))._bound_deployment
    return {
        application._bound_deployment.name: application._bound_deployment
        for application in gateway.init_args[1:]
    }[name]


def test_replicas_are_as_many_as_asked_for_unless_a_range_is_given() -> None:
    fixed = bound("replica", replicas=3)
    assert fixed.num_replicas == 3
    assert fixed._deployment_config.autoscaling_config is None
    ranged = bound("replica", replicas=1, max_replicas=3)._deployment_config.autoscaling_config
    assert (ranged.min_replicas, ranged.max_replicas) == (1, 3)
    assert ranged.policy.policy_function.endswith("ScaleByLoad")


def test_as_many_control_planes_run_as_asked_for() -> None:
    assert bound("control-plane").num_replicas == 1
    assert bound("control-plane", control_planes=2).num_replicas == 2
