"""As much of an API server as `kubectl debug` needs: one pod, which gets a container beside it.

The container is over as soon as it exists and has said what the test gave it
to say, so a command that attaches to it ends as it does on a cluster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

RESOURCES = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [
        {"name": name, "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": verbs}
        for name, verbs in (
            ("pods", ["get", "list", "watch", "patch"]),
            ("pods/ephemeralcontainers", ["patch"]),
        )
    ],
}
INITIAL_EVENTS_END = {"annotations": {"k8s.io/initial-events-end": "true"}, "resourceVersion": "2"}


@dataclass
class OnePod:
    """The pod, and what its new container said."""

    name: str
    says: str
    url: str = ""
    pod: dict[str, Any] = field(default_factory=dict)

    def patched(self, change: dict[str, Any]) -> None:
        containers = change["spec"]["ephemeralContainers"]
        self.pod["spec"]["ephemeralContainers"] = containers
        state = {"terminated": {"exitCode": 0}}
        self.pod["status"]["ephemeralContainerStatuses"] = [
            {"name": one["name"], "state": state, "image": "", "imageID": "", "ready": False}
            for one in containers
        ]


@contextmanager
def one_pod(name: str, *, says: str) -> Iterator[OnePod]:
    """Served on loopback for as long as the context lasts."""
    one = OnePod(name, says)
    one.pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "blockyard", "resourceVersion": "1"},
        "spec": {"securityContext": {}, "containers": [{"name": "ray-worker", "image": "x"}]},
        "status": {"phase": "Running"},
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), answering(one)) as server:
        one.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield one
        server.shutdown()
        thread.join()


def answering(one: OnePod) -> type[BaseHTTPRequestHandler]:
    """The handler for this pod."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = urlparse(self.path)
            match asked.path.split("/")[1:]:
                case ["api"]:
                    self.reply({"kind": "APIVersions", "versions": ["v1"]})
                case ["apis"]:
                    self.reply({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
                case ["api", "v1"]:
                    self.reply(RESOURCES)
                case [*_, "pods"] if "watch" in asked.query:
                    self.watch("sendInitialEvents" in parse_qs(asked.query))
                case [*_, "pods"]:
                    about = {"resourceVersion": "2"}
                    self.reply({"kind": "PodList", "apiVersion": "v1", "metadata": about} | items())
                case [*_, "pods", one.name]:
                    self.reply(one.pod)
                case [*_, "log"]:
                    self.send(200, one.says.encode())
                case _:
                    self.reply({"kind": "Status", "apiVersion": "v1", "code": 404}, 404)

        def do_PATCH(self) -> None:
            assert self.path.split("?")[0].endswith(f"/pods/{one.name}/ephemeralcontainers")
            one.patched(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.reply(one.pod)

        def watch(self, with_initial: bool) -> None:
            """Its state as an event; where the client asks for it, the end of the beginning too."""
            events: list[dict[str, Any]] = [{"type": "ADDED", "object": one.pod}]
            if with_initial:
                mark = {"kind": "Pod", "apiVersion": "v1", "metadata": INITIAL_EVENTS_END}
                events.append({"type": "BOOKMARK", "object": mark})
            self.send(200, "".join(f"{json.dumps(event)}\n" for event in events).encode())

        def reply(self, answer: dict[str, Any], status: int = 200) -> None:
            self.send(status, json.dumps(answer).encode())

        def send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def items() -> dict[str, Any]:
        return {"items": [one.pod]}

    return Handler
