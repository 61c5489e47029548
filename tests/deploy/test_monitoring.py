"""Alerts fire when they should; charts and alerts speak of metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from orchestrator.gateway.fleet_metrics import FleetCollector
from orchestrator.gateway.metrics import GatewayMetrics
from orchestrator.policy.view import ClusterView
from tests.deploy.rendering import Manifest, only, overlay, pods
from tests.deploy.tools import DEPLOY, run, said

MONITORING = DEPLOY / "components" / "monitoring"
WORDS = {"sum", "max", "by", "rate", "histogram_quantile", "absent", "or"}
LABELS = {"le", "replica", "stage", "outcome", "namespace"}


def rules() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
    return spec


def rule_test(folder: Path, spec: dict[str, Any]) -> tuple[int, str]:
    """promtool's verdict on the rules, by the unit tests beside them."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(spec))
    tests = folder / "alerts_test.yaml"
    tests.write_text((MONITORING / "alerts_test.yaml").read_text())
    verdict = run("promtool", "test", "rules", tests, cwd=folder)
    return verdict.returncode, said(verdict)


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((MONITORING / "blockyard.json").read_text())
    return list(dashboard["panels"])


def expressions() -> Iterator[str]:
    """Of the alerts, and of the dashboard with its variables filled in."""
    for group in rules()["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "5m")
            yield text.replace("$namespace", "blockyard")


def metrics_named(expression: str) -> set[str]:
    bare = re.sub(r"\[[^]]*\]|\{[^}]*\}", "", expression)
    return set(re.findall(r"[a-z_]{2,}", bare)) - WORDS - LABELS


def exposed() -> set[str]:
    """Every series that a gateway offers, each of a histogram's included."""
    metrics = GatewayMetrics()
    metrics.registry.register(FleetCollector(lambda: ClusterView(replicas=(), now_ns=0)))
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    types = re.findall(r"^# TYPE (\w+) (\w+)", metrics.exposition().decode(), re.M)
    return {name + suffix for name, kind in types for suffix in suffixes.get(kind, ("",))}


def test_each_alert_fires_and_rests_as_its_unit_tests_say(tmp_path: Path) -> None:
    verdict, words = rule_test(tmp_path, rules())
    assert verdict == 0, words


def test_an_alert_that_counts_a_replica_once_for_each_gateway_is_found(tmp_path: Path) -> None:
    spec = rules()
    (rule,) = [r for r in spec["groups"][0]["rules"] if r["alert"] == "BlockyardBlocksScarce"]
    rule["expr"] = rule["expr"].replace("max by (replica)", "sum by (replica)")
    assert rule_test(tmp_path, spec)[0] != 0


def test_every_expression_parses(tmp_path: Path) -> None:
    records = [{"record": f"r{i}", "expr": e} for i, e in enumerate(expressions())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": records}]}))
    verdict = run("promtool", "check", "rules", path)
    assert verdict.returncode == 0, said(verdict)
    path.write_text(path.read_text().replace("sum by (le) (", "sum by (le) ", 1))
    assert run("promtool", "check", "rules", path).returncode != 0


def test_every_metric_that_is_asked_for_exists() -> None:
    known = exposed()
    missing = {name for text in expressions() for name in metrics_named(text)} - known
    assert missing == set()


def test_every_panel_asks_a_question_within_its_own_variables() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"\$(\w+)", " ".join(t["expr"] for p in panels() for t in p["targets"])))
    assert used == {"namespace", "__rate_interval"}


def test_every_alert_has_a_paragraph_that_says_what_to_do() -> None:
    headings = re.findall(r"^#+ (.*)$", (DEPLOY / "README.md").read_text(), re.M)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for rule in rules()["groups"][0]["rules"]:
        page, anchor = rule["annotations"]["runbook_url"].split("#")
        assert page == "deploy/README.md"
        assert anchor in anchors


def test_monitors_scrape_ports_that_pods_have() -> None:
    objects = overlay("prod")
    names = {name for pod in pods(objects) for name in port_names(pod)}
    for monitor in ("blockyard-gateway", "blockyard-ray"):
        endpoints = only(objects, "PodMonitor", monitor)["spec"]["podMetricsEndpoints"]
        assert {endpoint["port"] for endpoint in endpoints} <= names


def port_names(pod: Manifest) -> set[str]:
    return {port["name"] for c in pod["spec"]["containers"] for port in c.get("ports", ())}
