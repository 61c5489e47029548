"""Every chart asks a question, in words and in PromQL, and stands where it can be read."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.monitoring import (
    NOT_OURS,
    dashboards,
    names_without_braces,
    panel_expressions,
    panels,
    recorded,
    rule_expressions,
    selectors,
)
from tests.deploy.rendering import CHART_VALUES, Manifest, chart, only, overlay, pods
from tests.deploy.tools import DEPLOY, run, said

BOARDS = {"cluster", "replica", "request", "incident"}
WIDTH = 24
TTFT, TPOT = "time_to_first_token_seconds", "time_per_output_token_seconds"


def test_the_dashboards_are_those_that_grafana_gets() -> None:
    data = only(overlay("prod"), "ConfigMap", "blockyard-dashboards")["data"]
    assert set(dashboards()) == BOARDS
    assert set(data) == {f"blockyard-{name}.json" for name in BOARDS}
    assert only(chart(CHART_VALUES["prod"]), "ConfigMap", "blockyard-dashboards")["data"] == data


def test_every_expression_parses(tmp_path: Path) -> None:
    expressions = rule_expressions() + panel_expressions()
    records = [{"record": f"r{i}", "expr": text} for i, text in enumerate(expressions)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": records}]}))
    verdict = run("promtool", "check", "rules", "--lint=none", path)
    assert verdict.returncode == 0, said(verdict)
    path.write_text(path.read_text().replace("sum by (class, le) (", "sum by (class, le) ", 1))
    assert run("promtool", "check", "rules", "--lint=none", path).returncode != 0


def test_every_panel_asks_a_question() -> None:
    for board, panel in panels():
        assert "?" in panel["description"], (board, panel["title"])
        if panel["type"] != "text":
            assert panel["title"].endswith("?"), (board, panel["title"])
            assert panel["targets"], (board, panel["title"])
            assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_panels_are_told_apart_and_do_not_overlap(name: str) -> None:
    board = dashboards()[name]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert board["uid"] == f"blockyard-{name}"
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@pytest.mark.parametrize("name", ["cluster", "incident"])
def test_the_first_token_stands_beside_the_tokens_that_follow(name: str) -> None:
    """The incident in one look: one rises, the other does not."""
    (first,) = charts_of(name, TTFT)
    (following,) = charts_of(name, TPOT)
    assert first["gridPos"]["y"] == following["gridPos"]["y"]
    assert first["gridPos"]["h"] == following["gridPos"]["h"]


def charts_of(board: str, metric: str) -> list[dict[str, Any]]:
    return [
        panel
        for panel in dashboards()[board]["panels"]
        if panel["type"] == "timeseries" and metric in str(panel["targets"])
    ]


def test_latencies_have_the_workloads_apart() -> None:
    seconds = re.compile(r"blockyard_(time_|inter_|e2e_|request_(?:queue|prefill|decode)_time)")
    charts = [
        (target, panel["title"])
        for _, panel in panels()
        if panel["type"] == "timeseries"
        for target in panel["targets"]
        if seconds.search(target["expr"])
    ]
    assert charts
    for target, title in charts:
        assert "class" in re.findall(r"by \(([^)]*)\)", target["expr"])[0], title
        assert "{{class}}" in target["legendFormat"], title


def test_charts_ask_by_names_within_the_namespace_that_is_chosen() -> None:
    for name, panel in panels():
        for target in panel.get("targets", ()):
            assert names_without_braces(target["expr"]) == set(), (name, target["expr"])
            for selector in selectors(target["expr"]):
                assert "namespace" in selector.labels, (name, target["expr"])


def test_every_metric_that_is_asked_for_is_in_the_table_of_all_metrics() -> None:
    table = set(re.findall(r"^\| `(\w+)` \|", (DEPLOY / "METRICS.md").read_text(), re.MULTILINE))
    asked = {
        selector.metric
        for expression in rule_expressions() + panel_expressions()
        for selector in selectors(expression)
    } - NOT_OURS
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked - recorded()}
    assert len(families) > 30
    assert families - table == set()


def test_every_variable_that_is_used_is_there_and_every_one_there_is_used() -> None:
    for name, board in dashboards().items():
        known = {variable["name"] for variable in board["templating"]["list"]}
        text = str(board["panels"]) + str(board["annotations"])
        used = set(re.findall(r"\$\{?([a-z]\w*)", text))
        assert used == known, name


def test_what_one_replica_reports_is_counted_once_however_many_gateways_hear_it() -> None:
    """Summing what every gateway says of the same replica would count it that many times."""
    for expression in rule_expressions() + panel_expressions():
        metrics = {one.metric for one in selectors(expression)} - {OF_EACH_GATEWAY}
        if any(metric.startswith(PER_REPLICA) for metric in metrics):
            assert re.search(r"\b(max|min|avg) by \(|\babsent\(", expression), expression


OF_EACH_GATEWAY = "blockyard_kv_blocks_promised"  # its own promises: they add up
PER_REPLICA = (
    "blockyard_num_",
    "blockyard_kv_",
    "blockyard_replica_",
    "blockyard_recomputed_",
    "blockyard_sequences_moved_",
)


def test_a_dashboard_leads_to_the_others() -> None:
    for board in dashboards().values():
        assert "blockyard" in board["tags"]
        (link,) = board["links"]
        assert (link["type"], link["tags"]) == ("dashboards", ["blockyard"])
        assert link["includeVars"] and link["keepTime"]


def test_monitors_scrape_ports_that_pods_have() -> None:
    objects = overlay("prod")
    names = {name for pod in pods(objects) for name in port_names(pod)}
    monitors = [one for one in objects if one["kind"] == "PodMonitor"]
    assert monitors
    for monitor in monitors:
        assert {one["port"] for one in monitor["spec"]["podMetricsEndpoints"]} <= names


def port_names(pod: Manifest) -> set[str]:
    return {port["name"] for c in pod["spec"]["containers"] for port in c.get("ports", ())}
