"""A namespace as deploy/ makes it, for tests that break it."""

from __future__ import annotations

from orchestrator.chaos.faults import (
    Break,
    Delay,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Scale,
    Slow,
)
from orchestrator.live.chaos.kubectl import KubectlOptions
from orchestrator.live.chaos.standing import Pod, Service, Standing
from orchestrator.live.chaos.steps import Planner

SERVE_CONFIG = """\
proxy_location: EveryNode
applications:
- name: blockyard
  args:
    model: tiny
  deployments:
  - name: gateway
    num_replicas: 2
  - name: replica
    num_replicas: 2
"""


def pod(role: str, number: int) -> Pod:
    address = {"replica": 10, "gateway": 20, "control-plane": 30, "redis": 40}[role] + number
    return Pod(f"blockyard-{role}-{number}", role, f"10.0.0.{address}", is_ready=True)


STANDING = Standing(
    pods=(
        *(pod(role, n) for role in ("control-plane", "gateway", "replica") for n in (0, 1)),
        pod("redis", 0),
    ),
    service=Service("blockyard", SERVE_CONFIG, replicas_max=8),
    leader="10.0.0.31:8802",
)
WITHOUT_NETEM = Planner(KubectlOptions("blockyard"), "run")
WITH_NETEM = Planner(KubectlOptions("blockyard", netem_image="tools:1"), "run")
# One of each kind that a cluster can do, the network's among them where an image is named.
FAULTS: tuple[Fault, ...] = (
    Kill("replica-0", 1.0),
    Kill("node-1", 1.0),
    Kill("redis", 1.0),
    Pause("leader", 2.5),
    Pause("redis", 2.5),
    Slow("gateway-0", 4.0, 2.5),
    Slow("redis", 200.0, 2.5),
    Restart(("replica-0", "control-1")),
    Flush(),
    Delay("gateway-0", "replica-1", 0.25, 3.0),
    Loss("replica-0", "redis", 0.3, 3.0),
    Part("replica-0", "replica-1", 3.0),
    Break("gateway-0", "node-0"),
    Scale(4),
)
