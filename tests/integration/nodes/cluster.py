"""A cluster of several Ray nodes with the production overlay's application on it.

Everything is done as Kubernetes and its operator would: nodes are started by
the group that they belong to, the application is put by REST, and asked about
by REST. The test process is no part of Ray.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from orchestrator.config import Deployment
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.operator_client import ReplicaState, replica_states
from orchestrator.live.registry_url import leader_at
from protos.messages import ReplicaId
from protos.registry import RegistryUnavailable
from protos.transport import Transport
from tests.deploy.redis_server import Server
from tests.integration.nodes import manifests
from tests.integration.nodes.node import Node
from tests.ports import free_ports
from tests.waiting import wait_for

WITHIN_S = 300.0  # of whatever is waited for: a slow machine is no failure
JOIN_TOGETHER = 2  # a raylet gives up when its agents are not there within 15 s
POLL_S = 0.3  # asking costs the head more than an answer is worth
PUTS_MAX = 3
CLUSTER = "blockyard"


class NodeCluster:
    """A context manager: on leaving, every process of every node is ended by its id."""

    def __init__(self, folder: Path, redis: Server, config: manifests.ServeConfig) -> None:
        self.folder = folder
        self.redis = redis
        self.config = config
        self.nodes: list[Node] = []
        net = random.SystemRandom()
        self._net = f"127.{net.randrange(16, 250)}.{net.randrange(256)}"
        self._heads: list[Node] = []  # each at the same address, one after another
        self._started = 1  # that one
        gcs_port, self._dashboard_port, client_port = free_ports(3)
        self.gcs_address = f"{self._net}.1:{gcs_port}"
        self._head_options = [
            "--head",
            "--no-monitor",  # the operator runs the autoscaler beside it
            f"--port={gcs_port}",
            f"--ray-client-server-port={client_port}",
            f"--dashboard-host={self._net}.1",
            f"--dashboard-port={self._dashboard_port}",
        ]

    # Nodes

    def start_head(self) -> Node:
        """Also again, after its end: with the same addresses, and what Redis kept."""
        gcs = self.redis.secrets["blockyard-gcs"]
        environment = manifests.head_environment(self.redis) | {
            "RAY_external_storage_namespace": CLUSTER,
            "RAY_enable_autoscaler_v2": "1",
        }
        options = [
            *self._head_options,
            f"--redis-username={gcs['username']}",
            f"--redis-password={gcs['password']}",
            *manifests.head_options(),
        ]
        folder = self.folder / f"head-{len(self._heads) + 1}"  # a new pod has an empty disk
        head = Node("head", "headgroup", f"{self._net}.1", options, environment, folder)
        self._heads.append(head)
        head.start()
        self.nodes.append(head)
        self.wait_for(lambda: self.are_listed([head]), "the head is there")
        return head

    def add(self, *roles: str) -> list[Node]:
        """Nodes of these groups, as soon as Ray lists them."""
        added: list[Node] = []
        for first in range(0, len(roles), JOIN_TOGETHER):
            joining = [self.begin(role) for role in roles[first : first + JOIN_TOGETHER]]
            self.wait_for(partial(self.are_listed, joining), f"{roles} join")
            added += joining
        return added

    def begin(self, role: str) -> Node:
        """A node that is about to join."""
        self._started += 1
        node = Node(
            name=f"{role}-{self._started}",
            role=role,
            address=f"{self._net}.{self._started}",
            options=[f"--address={self.gcs_address}", *manifests.start_options(role)],
            environment=self._environment(role),
            folder=self.folder / str(self._started),
        )
        node.start()
        self.nodes.append(node)
        return node

    def _environment(self, role: str) -> dict[str, str]:
        """The pod's; the registry is where this machine has it, for the user that the pod is."""
        found = manifests.environment(role, self.redis.secrets)
        users = {url: key for key, url in self.redis.secrets["blockyard-registry"].items()}
        url = self.redis.registry_url(users[found["BLOCKYARD_REDIS_URL"]])
        return found | {"BLOCKYARD_REDIS_URL": url}

    def lose(self, *nodes: Node) -> None:
        """All of them at once, without a word."""
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(Node.kill, nodes))
        self.nodes = [node for node in self.nodes if node not in nodes]

    def retire(self, node: Node) -> None:
        """As a deleted pod leaves; returns when it has."""
        node.leave(self.gcs_address, self.folder / "tools" / node.name)
        self.nodes.remove(node)

    def of(self, role: str) -> list[Node]:
        return [node for node in self.nodes if node.role == role]

    def __enter__(self) -> NodeCluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self.nodes:
            self.lose(*self.nodes)

    # What Ray and Serve say

    def ask(self, path: str) -> Any:
        """GET of the head's REST interface."""
        answer = httpx.get(f"{self.rest}{path}", headers=self._token, timeout=30)
        answer.raise_for_status()
        return answer.json()

    @property
    def rest(self) -> str:
        return f"http://{self._net}.1:{self._dashboard_port}"

    @property
    def _token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"}

    def states(self) -> dict[str, str]:
        """Of every node that Ray remembers, by id."""
        rows = self.ask("/api/v0/nodes")["data"]["result"]["result"]
        return {row["node_id"]: row["state"] for row in rows}

    def are_listed(self, nodes: Sequence[Node]) -> bool:
        for node in nodes:
            node.keep_trying()
        states = self.states()
        alive = [node for node in nodes if states.get(node.node_id) == "ALIVE"]
        for node in alive:
            node.give_way()
        return len(alive) == len(nodes)

    def put(self, config: manifests.ServeConfig) -> None:
        """The application, as the operator puts it: again where Serve was too slow to start."""
        url = f"{self.rest}/api/serve/applications/"
        for _ in range(PUTS_MAX):
            answer = httpx.put(url, json=config, headers=self._token, timeout=WITHIN_S)
            if not answer.is_server_error:
                break
        assert answer.is_success, answer.text
        self.config = config

    def application(self) -> dict[str, Any]:
        applications = self.ask("/api/serve/applications/")["applications"]
        return manifests.dict_of(applications.get("blockyard", {}))

    def is_running(self) -> bool:
        application = self.application()
        assert application.get("status") != "DEPLOY_FAILED", application
        return application.get("status") == "RUNNING"

    def placed(self) -> dict[str, list[str]]:
        """The ids of the nodes on which actors of each deployment run."""
        return {
            name: sorted(one["node_id"] for one in deployment["replicas"] if is_running(one))
            for name, deployment in self.application().get("deployments", {}).items()
        }

    def application_actors(self) -> list[str]:
        """Serve's names of all that run."""
        return [
            one["replica_id"]
            for deployment in self.application()["deployments"].values()
            for one in deployment["replicas"]
        ]

    # What the application says

    @property
    def deployed(self) -> Deployment:
        return manifests.arguments(self.config)

    def url(self, gateway: Node) -> str:
        return f"http://{gateway.address}:{self.deployed.http_port}"

    def ready_gateways(self) -> list[Node]:
        """Those that the Service would send requests to."""
        return [node for node in self.of("gateway") if answers_ready(self.url(node))]

    def replicas(self) -> tuple[ReplicaState, ...]:
        """As the control plane that leads knows them; none while nobody leads."""
        leader = asyncio.run(leader_at(self.redis.registry_url()))
        if leader is None:
            return ()
        try:
            return replica_states(ControlDoor(leader.address, Transport(None)), timeout_s=10)
        except ConnectionError:
            return ()

    def replica_on(self, node: Node) -> ReplicaId | None:
        """Who takes work there."""
        port = self.deployed.replica_port
        for state in self.replicas():
            if state.record.address == f"{node.address}:{port}" and state.state == "active":
                return state.record.replica_id
        return None

    def runs_something(self, node: Node) -> bool:
        """Whether requests have come to the replica there."""
        replica_id = self.replica_on(node)
        return any(
            state.snapshot.sequences_running
            for state in self.replicas()
            if state.record.replica_id == replica_id
        )

    def are_all_busy(self) -> bool:
        """Whether every replica has streams."""
        return all(self.runs_something(node) for node in self.of("replica"))

    def is_whole(self) -> bool:
        """As many of everything serve as the manifest says."""
        return (
            self.is_running()
            and len(self.ready_gateways()) == self.wanted("gateway")
            and sum(state.state == "active" for state in self.replicas()) == self.wanted("replica")
        )

    def wanted(self, role: str) -> int:
        if role == "control-plane":
            return self.deployed.control_planes
        return int(manifests.deployment_of(self.config, role)["num_replicas"])

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Until it holds; it does not while who knows cannot be asked, as a head that starts."""

        def holds() -> bool:
            try:
                return bool(condition())
            except (httpx.HTTPError, RegistryUnavailable):
                return False

        wait_for(holds, within_s=WITHIN_S, what=what, every_s=POLL_S)


def is_running(actor: dict[str, Any]) -> bool:
    return bool(actor["state"] == "RUNNING")


def answers_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).is_success
    except httpx.TransportError:
        return False
