"""What alerts and dashboards ask of Prometheus: their expressions, taken apart.

Every selector is written with its braces, `name{namespace=...}`, so that a name
is told from a function, a label and a word of PromQL without parsing it all.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY

MONITORING = DEPLOY / "components" / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)")
NAME = re.compile(r"\bblockyard[_:][\w:]*")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
# What comes from Prometheus itself, or by the way of scraping.
NOT_OURS = {"ALERTS"}
SCRAPED = {"namespace", "pod"}


@dataclass(frozen=True, slots=True)
class Selector:
    """One series that is asked for, by name and by the labels it is told from others by."""

    metric: str
    labels: frozenset[str]


def rules() -> dict[str, Any]:
    """The spec of the PrometheusRule: what Prometheus itself would read. A copy."""
    return copy.deepcopy(_rules())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]


def recorded() -> set[str]:
    """The names that rules give to what they compute."""
    return {r["record"] for group in rules()["groups"] for r in group["rules"] if "record" in r}


def dashboards() -> dict[str, dict[str, Any]]:
    """By the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def panels() -> list[tuple[str, dict[str, Any]]]:
    """Of all dashboards, each with its dashboard's name."""
    return [(name, panel) for name, board in dashboards().items() for panel in board["panels"]]


def rule_expressions() -> list[str]:
    return [rule["expr"] for group in rules()["groups"] for rule in group["rules"]]


def panel_expressions() -> list[str]:
    """As Grafana would send them: with the variables filled in."""
    texts = [target["expr"] for _, panel in panels() for target in panel.get("targets", ())]
    notes = [note["expr"] for b in dashboards().values() for note in b["annotations"]["list"]]
    return [filled_in(text) for text in texts + notes]


def filled_in(expression: str, *, window: str = "5m") -> str:
    """The expression with a namespace, every replica, and that window."""
    text = expression.replace("$__rate_interval", window).replace("$namespace", "blockyard")
    return text.replace("$replica", ".*")


def selectors(expression: str) -> Iterator[Selector]:
    """What the expression asks for. Grouping labels count for all of its selectors."""
    grouped = {
        label.strip() for group in GROUPING.findall(expression) for label in group.split(",")
    }
    for metric, matchers in SELECTOR.findall(expression):
        matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
        yield Selector(metric, frozenset({*matched, *grouped} - {""}))


def names_without_braces(expression: str) -> set[str]:
    """Names of ours that the expression asks for in a way that `selectors` does not see."""
    return set(NAME.findall(SELECTOR.sub("", expression)))


def offered(exposition: str) -> set[str]:
    """Every series that a text of /metrics offers, each of a histogram's included."""
    types = re.findall(r"^# TYPE (\w+) (\w+)", exposition, re.M)
    return {name + suffix for name, kind in types for suffix in SUFFIXES.get(kind, ("",))}


@cache
def _rules() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
    return spec
