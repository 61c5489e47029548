"""A real Prometheus for some minutes: it scrapes a cluster and evaluates our rules.

Scrapes every second, where a cluster would scrape every fifteen; the rules'
windows shrink with it, and nothing else of them changes. What scraping adds in
Kubernetes, the namespace and the pod, is added here as well.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import yaml

from tests.deploy.monitoring import filled_in, rules
from tests.ports import free_ports

WINDOW = "10s"  # of a rate, at a scrape every second
WINDOWS = {"[5m]": f"[{WINDOW}]", "[15m]": "[30s]", "[6h]": "[2m]", "[1d]": "[4m]"}
NAMESPACE = "blockyard"
START_S_MAX = 60.0
STOP_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One series of an answer: its labels, and its values by the seconds of a wall clock."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs, by its URL."""

    url: str

    def curves(self, expression: str, *, began_s: float, ended_s: float) -> list[Curve]:
        """What Grafana would get for that expression of a panel. Raises httpx.HTTPStatusError."""
        answer = httpx.get(
            f"{self.url}/api/v1/query_range",
            params={
                "query": filled_in(expression, window=WINDOW),
                "start": began_s,
                "end": ended_s,
                "step": 1,
            },
            timeout=60,
        )
        answer.raise_for_status()
        return [
            Curve(series["metric"], tuple((float(at), float(v)) for at, v in series["values"]))
            for series in answer.json()["data"]["result"]
        ]


@contextmanager
def prometheus(binary: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Scrapes `targets`, which are addresses by the name of a pod, until it is left."""
    (port,) = free_ports(1)
    with TemporaryDirectory() as folder:
        command = _configured(binary, Path(folder), port, targets)
        with (
            open(Path(folder) / "log", "w") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as process,
        ):
            try:
                yield _ready(Prometheus(f"http://127.0.0.1:{port}"), process, Path(log.name))
            finally:
                process.terminate()
                process.wait(timeout=STOP_S_MAX)


def shrunk(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The rules with windows of seconds."""
    text = yaml.safe_dump(dict(spec), width=10_000)
    for window, instead in WINDOWS.items():
        text = text.replace(window, instead)
    shrunken: dict[str, Any] = yaml.safe_load(text)
    return shrunken


def _configured(
    binary: Path, folder: Path, port: int, targets: Mapping[str, str]
) -> Sequence[str | Path]:
    (folder / "rules.yaml").write_text(yaml.safe_dump(shrunk(rules())))
    scraped = [
        {"targets": [address], "labels": {"namespace": NAMESPACE, "pod": pod}}
        for pod, address in targets.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "blockyard", "static_configs": scraped}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    return (
        binary,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )


def _ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> Prometheus:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{server.url}/-/ready").status_code == httpx.codes.OK:
                return server
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"prometheus did not start:\n{log.read_text()[-2000:]}")
