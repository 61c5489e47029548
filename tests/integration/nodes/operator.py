"""As much of Kubernetes and KubeRay's operator as Ray's own autoscaler needs.

The autoscaler is the real one, `ray kuberay-autoscaler`, as it runs beside
the head in a cluster. It reads the RayCluster and the pods from an API server
and patches the counts of its groups; the operator makes pods of that. Here the
API server has those two resources and JSON patches, a pod is a Ray node of
this machine, and who shows no certificate of the test's authority is refused.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import trustme

from tests.integration.nodes.cluster import CLUSTER, NodeCluster
from tests.integration.nodes.node import RAY, Node
from tests.ports import free_ports

Object = dict[str, Any]
RECONCILE_S = 0.5


@dataclass
class Operator:
    """Makes the cluster's nodes what the RayCluster says, and tells who asks."""

    cluster: NodeCluster
    spec: Object  # of the RayCluster
    leaving: dict[str, Future[None]] = field(default_factory=dict)
    patches: list[Object] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def raycluster(self) -> Object:
        with self._lock:
            metadata = {"name": CLUSTER, "namespace": CLUSTER, "resourceVersion": "1"}
            return {"metadata": metadata, "spec": json.loads(json.dumps(self.spec))}

    def pods(self) -> Object:
        items = [self._pod(node) for node in list(self.cluster.nodes)]
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    def _pod(self, node: Node) -> Object:
        labels = {
            "ray.io/cluster": CLUSTER,
            "ray.io/node-type": "head" if node.role == "headgroup" else "worker",
            "ray.io/group": node.role,
        }
        metadata: Object = {"name": node.name, "labels": labels}
        if node.name in self.leaving:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        running: Object = {"containerStatuses": [{"state": {"running": {}}}]}
        return {"metadata": metadata, "status": running, "spec": {"containers": [{}]}}

    def patch(self, changes: list[Object]) -> Object:
        """A JSON patch of the RayCluster, of the one kind that the autoscaler makes."""
        with self._lock:
            for change in changes:
                assert change["op"] == "replace", change
                *path, last = change["path"].split("/")[2:]
                place: Any = self.spec
                for step in path:
                    place = place[int(step)] if isinstance(place, list) else place[step]
                place[last] = change["value"]
                self.patches.append(change)
        return self.raycluster()

    def reconcile(self) -> None:
        """Pods that should go begin to leave, and missing ones begin to join."""
        with self._lock:
            groups = json.loads(json.dumps(self.spec["workerGroupSpecs"]))
        for group in groups:
            role = group["groupName"]
            doomed = group.get("scaleStrategy", {}).get("workersToDelete", [])
            for node in self.cluster.of(role):
                if node.name in doomed and node.name not in self.leaving:
                    self.leaving[node.name] = self._pool.submit(self.cluster.retire, node)
            for node in self.cluster.of(role):
                if node.name not in self.leaving:
                    node.keep_trying()
            staying = [node for node in self.cluster.of(role) if node.name not in self.leaving]
            for _ in range(group["replicas"] - len(staying)):
                self.cluster.begin(role)

    def close(self) -> None:
        """Returns when whoever was leaving has left."""
        self._pool.shutdown()
        for gone in self.leaving.values():
            gone.result()


@contextmanager
def operated(cluster: NodeCluster, spec: Object) -> Iterator[Operator]:
    """The operator at work, and Ray's autoscaler beside it."""
    operator = Operator(cluster, spec)
    over = threading.Event()

    def work() -> None:
        while not over.wait(RECONCILE_S):
            operator.reconcile()

    folder = cluster.folder / "autoscaler"
    folder.mkdir()
    with ThreadPoolExecutor(1) as pool, api_server(operator, folder) as port:
        working = pool.submit(work)
        try:
            with autoscaler(cluster, folder, port):
                yield operator
        finally:
            over.set()
            working.result()
            operator.close()


@contextmanager
def api_server(operator: Operator, folder: Path) -> Iterator[int]:
    """Its port. What clients need to speak with it lies in the folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    shown = authority.issue_cert("autoscaler")
    shown.private_key_pem.write_to_path(str(folder / "tls.key"))
    shown.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), answering(operator)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def autoscaler(cluster: NodeCluster, folder: Path, api_port: int) -> Iterator[None]:
    """Ray's own, as the operator starts it beside the head."""
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS": str(api_port),
        "RAY_KUBERAY_CLIENT_CERT_PATH": str(folder / "tls.crt"),
        "RAY_KUBERAY_CLIENT_KEY_PATH": str(folder / "tls.key"),
        "RAY_KUBERAY_CA_CERT_PATH": str(folder / "ca.crt"),
        "AUTOSCALER_METRIC_PORT": str(free_ports(1)[0]),
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",  # 5 as shipped by Ray
        "PATH": f"{Path(RAY).parent}:{os.environ['PATH']}",
    }
    words = ["--cluster-name", CLUSTER, "--cluster-namespace", CLUSTER]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [RAY, "kuberay-autoscaler", *words, "--gcs-address", cluster.gcs_address],
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


def answering(operator: Operator) -> type[BaseHTTPRequestHandler]:
    """The handler for this operator's resources."""
    own = f"/apis/ray.io/v1/namespaces/{CLUSTER}/rayclusters/{CLUSTER}"
    pods = f"/api/v1/namespaces/{CLUSTER}/pods"

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            match urlparse(self.path).path:
                case path if path == own:
                    self._answer(200, operator.raycluster())
                case path if path == pods:
                    self._answer(200, operator.pods())
                case _:
                    self._answer(404, {})

        def do_PATCH(self) -> None:
            assert self.path == own
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, operator.patch(json.loads(content)))

        def _answer(self, status: int, content: Object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
