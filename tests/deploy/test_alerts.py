"""Alerts fire when they should, rest when they should, and each has a page to turn to."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.__main__ import COMMANDS
from tests.deploy.monitoring import (
    MONITORING,
    alerts,
    names_without_braces,
    panels,
    recorded,
    rule_expressions,
    rules,
    selectors,
)
from tests.deploy.tools import DEPLOY, ROOT, run, said

RUNBOOK = DEPLOY / "RUNBOOK.md"
SEVERITIES = {"critical", "warning", "info"}
BLOCKS = re.findall(r"```bash\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
# One change each that nobody would see by reading, and the words that find it.
MUTANTS = [
    ("blockyard:kv_blocks:sum", "avg by (namespace, replica, state)", "sum by (namespace, state)"),
    ("blockyard:waiting:sum", "max by (namespace, replica)", "sum by (namespace)"),
    ("BlockyardNobodyServes", "or absent(", "and absent("),
    ("BlockyardNobodyServes", "unless on (namespace)", "and on (namespace)"),
    ("BlockyardNobodyServes", "sum by (namespace)", "sum"),
    ("BlockyardReplicaTakesNothing", "< 1", "< 0"),
    ("BlockyardRequestsFail", "|replica_lost", ""),
    ("BlockyardRequestsTurnedAway", "sum by (namespace, class)", "max by (namespace, class)"),
    ("BlockyardFirstTokenLate", '"agent"', '"batch"'),
    ("BlockyardTokensSlow", 'class="interactive"', ""),
    ("BlockyardBlocksStranded", "and on (namespace)", "or on (namespace)"),
    ("BlockyardBlocksLeak", "blockyard_num_requests_running", "blockyard_num_requests_waiting"),
    ("BlockyardRecomputing", "max by (namespace, replica) (rate(", "(rate("),
    ("BlockyardPrefixesCold", "0.5 *", "0.01 *"),
    ("BlockyardRegistryMissing", "0.05", "0.005"),
    ("BlockyardRegistryWrong", "> 0.1", "> 0.5"),
    ("BlockyardRegistryBehind", "max by", "min by"),
    ("BlockyardNobodyLeads", "max by", "min by"),
    ("BlockyardNobodyLeads", "unless on (namespace)", "and on (namespace)"),
    ("BlockyardMovesFail", "declined|lost|late", "declined|lost"),
    ("BlockyardKeysFileWrong", "min by", "max by"),
    ("BlockyardStrangersKnock", "> 1", "> 0"),
]


@cache
def rule_tests() -> dict[str, Any]:
    """The unit tests beside the rules, as promtool reads them."""
    tests: dict[str, Any] = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())
    return tests


def verdict_on(spec: dict[str, Any], folder: Path, *, about: str = "") -> tuple[int, str]:
    """promtool's, by those unit tests that speak `about` one rule."""
    told = [test for test in rule_tests()["tests"] if about in str(test)]
    assert told
    (folder / "rules.yaml").write_text(yaml.safe_dump(spec))
    path = folder / "alerts_test.yaml"
    path.write_text(yaml.safe_dump({**rule_tests(), "tests": told}))
    verdict = run("promtool", "test", "rules", path, cwd=folder)
    return verdict.returncode, said(verdict)


def cases() -> list[dict[str, Any]]:
    return [case for test in rule_tests()["tests"] for case in test.get("alert_rule_test", ())]


def test_each_alert_fires_and_rests_as_its_unit_tests_say(tmp_path: Path) -> None:
    verdict, words = verdict_on(rules(), tmp_path)
    assert verdict == 0, words


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_rests() -> None:
    names = {alert["alert"] for alert in alerts()}
    assert {case["alertname"] for case in cases() if case.get("exp_alerts")} == names
    resting = {case["alertname"] for case in cases() if not case.get("exp_alerts")}
    assert names - resting == set()


@pytest.mark.parametrize("name, text, instead", MUTANTS, ids=[" ".join(m[:2]) for m in MUTANTS])
def test_a_rule_that_is_spoilt_is_found(name: str, text: str, instead: str, tmp_path: Path) -> None:
    spec = rules()
    found = [
        rule
        for group in spec["groups"]
        for rule in group["rules"]
        if name in (rule.get("alert"), rule.get("record"))
    ]
    (rule,) = found
    assert text in rule["expr"]
    rule["expr"] = rule["expr"].replace(text, instead)
    assert verdict_on(spec, tmp_path, about=name)[0] != 0


def test_every_mutant_is_of_an_alert_or_of_what_alerts_are_made_of() -> None:
    spoilt = {name for name, _, _ in MUTANTS}
    assert {alert["alert"] for alert in alerts()} - spoilt <= {
        "BlockyardStreamsBroken",  # one comparison with nought
        "BlockyardBlocksScarce",  # asks for one ratio, which is spoilt above
    }


def test_alerts_are_of_one_namespace_each_and_of_whichever() -> None:
    for expression in rule_expressions():
        assert mixes_namespaces(expression) == []
        assert names_without_braces(expression) == set()
        for selector in selectors(expression):
            assert selector.metric.startswith("blockyard_") or selector.metric in recorded()


@pytest.mark.parametrize(
    "expression",
    [
        "sum(blockyard_leader{}) < 1",
        "max by (replica) (blockyard_replica_up{}) < 1",
        "blockyard:waiting:sum{} > 0 and on (replica) blockyard:waiting:sum{}",
        'blockyard_leader{namespace="blockyard"} < 1',
    ],
)
def test_an_alert_that_mixes_namespaces_is_found(expression: str) -> None:
    assert len(mixes_namespaces(expression)) == 1


def mixes_namespaces(expression: str) -> list[str]:
    """What of it would count two clusters as one, or knows only one by its name."""
    kept = r"(?!\s*(?:by\s*)?\(\s*namespace\b)"
    return [
        *re.findall(rf"(?<![\w:])(?:sum|max|min|avg|count)\b(?=[\s(]){kept}", expression),
        *re.findall(rf"\bon\b{kept}", expression),
        *re.findall(r"namespace\s*[=!]", expression),
    ]


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    anchors = set(anchors_of(RUNBOOK))
    for alert in alerts():
        assert alert["labels"]["severity"] in SEVERITIES
        page, anchor = alert["annotations"]["runbook_url"].split("#")
        assert page == str(RUNBOOK.relative_to(ROOT))
        assert anchor in anchors, alert["alert"]


def test_every_page_of_the_runbook_has_its_alert() -> None:
    """But those that begin where no alert can: with what somebody says."""
    spoken = {alert["annotations"]["runbook_url"].split("#")[1] for alert in alerts()}
    silent = [anchor for anchor in anchors_of(RUNBOOK, level="###") if anchor not in spoken]
    assert set(silent) <= {"somebody-asks-about-one-request", "the-incident-again"}


def anchors_of(path: Path, level: str = "#+") -> list[str]:
    headings = re.findall(rf"^{level} (.*)$", path.read_text(), re.M)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_of_the_runbook_is_shell(block: str) -> None:
    verdict = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert verdict.stderr == ""


def test_every_command_of_the_runbook_is_a_command() -> None:
    text = RUNBOOK.read_text()
    said_verbs = set(re.findall(r"^blockyard ([a-z][a-z-]*)", "\n".join(BLOCKS), re.MULTILINE))
    said_verbs |= set(re.findall(r"`blockyard ([a-z][a-z-]*)", text))
    assert {"status", "explain", "doctor"} <= said_verbs
    assert said_verbs - set(COMMANDS) == set()


def test_every_path_of_the_runbook_exists() -> None:
    named = set(re.findall(r"\b(deploy/[\w./-]*\w)", RUNBOOK.read_text()))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_chart_and_every_cause_that_the_runbook_names_is_there() -> None:
    text = " ".join(RUNBOOK.read_text().split())
    named = set(re.findall(r"\*([^*]+\?)\*", text))
    assert named
    assert named - {panel["title"] for _, panel in panels()} == set()
    causes = {rule["labels"]["cause"] for group in rules()["groups"] for rule in causes_of(group)}
    assert {cause for cause in causes if f"| {cause} |" not in text} == set()


def causes_of(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for rule in group["rules"] if "cause" in rule.get("labels", ())]


def test_every_section_that_the_runbook_points_to_is_there() -> None:
    for page, anchor in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", RUNBOOK.read_text()):
        assert anchor in anchors_of(DEPLOY / page if page else RUNBOOK), anchor
