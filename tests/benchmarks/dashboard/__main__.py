"""The picture of a dashboard: a spike on a real cluster, scraped by a real Prometheus.

    python -m tests.benchmarks.dashboard --prometheus PATH --out dashboard.png

Two replicas of the tiny model and two gateways as processes, the incident's two
workloads from `blockyard load`, chat many times as fast for a while; then every
query of the dashboard is asked, and its panels are drawn by matplotlib. Queries
that fail, and panels that stay empty, are told.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from tests.benchmarks.dashboard.drawing import draw, legend
from tests.benchmarks.dashboard.prometheus import Curve, Prometheus, prometheus
from tests.deploy.monitoring import dashboards
from tests.integration.cluster.scraped import Scraped

SETTLE_S = 8.0  # scraped before anything is asked, so that rates have a beginning
REPLICAS = ("a", "b")


@click.command()
@click.option("--prometheus", "binary", type=click.Path(path_type=Path), help="Its program.")
@click.option("--board", default="incident", show_default=True, help="Which dashboard.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("dashboard.png"))
@click.option("--blocks", default=160, show_default=True, help="Of each replica.")
@click.option("--rate", default=1.2, show_default=True, help="Requests a second, before the spike.")
@click.option("--spike", default="40:8x:30", show_default=True, help="As `blockyard load` has it.")
@click.option("--seconds", default=130, show_default=True)
@click.option("--scale", default=0.3, show_default=True, help="Of all lengths.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the answers here as JSON.")
def main(
    *,
    binary: Path | None,
    board: str,
    out: Path,
    blocks: int,
    rate: float,
    spike: str,
    seconds: int,
    scale: float,
    keep: Path | None,
) -> None:
    """Draw a dashboard of ours from a real run."""
    program = binary or Path(shutil.which("prometheus") or "")
    if not program.is_file():
        raise click.ClickException("no prometheus here: name its program by --prometheus")
    with Scraped(blocks=blocks) as cluster:
        cluster.start(replicas=REPLICAS, gateways=2)
        with prometheus(program, cluster.targets) as server:
            time.sleep(SETTLE_S)
            words = ["--workload=mix", f"--rate={rate}", f"--spike={spike}", f"--scale={scale}"]
            began_s = load(cluster, [*words, f"--seconds={seconds}"])
            ended_s = began_s + seconds
            answers = asked(server, board, began_s, ended_s)
    if keep is not None:
        keep.write_text(json.dumps({p: [(n, c.points) for n, c in a] for p, a in answers.items()}))
    at_s, times, length_s = spike.split(":")
    draw(
        dashboards()[board],
        answers,
        out,
        caption=(
            f"A real run: {len(REPLICAS)} replicas of the tiny model, {blocks} blocks each, on two"
            f" shared cores; chat {times.removesuffix('x')} times as fast in the shaded span."
            " Queries answered by Prometheus; drawn by matplotlib, not Grafana. Seconds."
        ),
        began_s=began_s,
        ended_s=ended_s,
        marked=(began_s + float(at_s), began_s + float(at_s) + float(length_s)),
    )


def load(cluster: Scraped, words: list[str]) -> float:
    """Until every request has its answer; what the client measured is shown. When it began."""
    urls = [f"--url={gateway.address}" for gateway in cluster.gateways]
    command = [sys.executable, "-m", "orchestrator", "load", *urls, *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as client:
        assert client.stderr is not None
        greeting = client.stderr.readline()  # said when it has met the servers
        began_s = time.time()
        click.echo(greeting, err=True, nl=False)
        for line in client.stderr:
            click.echo(line, err=True, nl=False)
    if client.returncode:
        raise click.ClickException("the load did not come to its end")
    return began_s


def asked(
    server: Prometheus, board: str, began_s: float, ended_s: float
) -> dict[int, list[tuple[str, Curve]]]:
    """What every panel would show, by its id."""
    answers = {}
    for panel in dashboards()[board]["panels"]:
        told = [
            (legend(target["legendFormat"], curve.labels), curve)
            for target in panel.get("targets", ())
            for curve in server.curves(target["expr"], began_s=began_s, ended_s=ended_s)
        ]
        answers[panel["id"]] = told
        if panel["type"] != "text" and not told:
            click.echo(f"nothing to show: {panel['title']}", err=True)
    return answers


if __name__ == "__main__":
    main()
