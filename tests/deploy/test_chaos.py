"""Chaos may do what its faults need and no more; its manifests keep the others' rules."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from orchestrator.chaos.command import run as chaos_run
from orchestrator.chaos.library import load, load_file, names
from orchestrator.chaos.world import CannotDo
from orchestrator.live.chaos.kubectl import Kubectl, KubectlOptions, Permission
from orchestrator.live.chaos.kubernetes import PODS, POLICY_NAMES, SERVICES
from orchestrator.live.chaos.steps import Planner
from tests.deploy.rendering import (
    CHART_VALUES,
    Manifest,
    by_name,
    chart,
    only,
    overlay,
    pod,
    pods,
    selects,
    written,
)
from tests.deploy.test_manifests import checked, judged
from tests.deploy.test_security import too_open
from tests.deploy.tools import DEPLOY, program
from tests.deploy.user_overlays import built, rendered
from tests.unit.live.chaos.pods import FAULTS, STANDING, WITH_NETEM, WITHOUT_NETEM

CHAOS = DEPLOY / "chaos"
ADDED = ("chaos/closed", "chaos/netem")
KEY_VARIABLE = "BLOCKYARD_API_KEY"
NEEDS_THE_NETWORK = {"Delay", "Loss", "Break"}


@cache
def _objects() -> list[Manifest]:
    """The night with all that a cluster may need beside it, and the Job of a single run."""
    with TemporaryDirectory() as folder:
        night = built(Path(folder), resources=["chaos/nightly"], components=ADDED)
    return [*night, only(rendered(CHAOS / "run"), "Job")]


@pytest.fixture
def objects() -> list[Manifest]:
    return copy.deepcopy(_objects())


def granted(role: Manifest) -> set[Permission]:
    found = set()
    for rule in role["rules"]:
        (group,) = rule["apiGroups"]
        for resource in rule["resources"]:
            name, _, part = resource.partition("/")
            full = f"{name}.{group}" if group else name
            found |= {Permission(verb, full, part) for verb in rule["verbs"]}
    return found


def needed(planner: Planner) -> set[Permission]:
    """By every fault that can be planned so, and by looking."""
    plans = [
        planner.steps(fault, STANDING)
        for fault in FAULTS
        if planner is WITH_NETEM or not needs_the_network(fault)
    ]
    commands = [one for plan in plans for step in plan for one in step.commands]
    return {need for one in (*commands, PODS, SERVICES, POLICY_NAMES) for need in one.needs}


def needs_the_network(fault: object) -> bool:
    is_redis = getattr(fault, "who", "") == "redis" and type(fault).__name__ != "Kill"
    return is_redis or type(fault).__name__ in NEEDS_THE_NETWORK


def test_kubernetes_knows_every_field(objects: list[Manifest], tmp_path: Path) -> None:
    assert judged(objects, tmp_path) == (0, "")
    only(objects, "CronJob")["spec"]["scheduled"] = "never"
    (tmp_path / "spoilt").mkdir()
    assert judged(objects, tmp_path / "spoilt")[0] != 0


def test_the_pods_of_a_run_keep_to_the_restricted_level(objects: list[Manifest]) -> None:
    found = {p["metadata"]["name"]: too_open(p["spec"]) for p in pods(objects)}
    assert found == {"blockyard-chaos": []}
    assert len(pods(objects)) == 2, "the Job's and the CronJob's"


def test_checkov_finds_nothing_that_is_not_answered(
    objects: list[Manifest], tmp_path: Path
) -> None:
    verdict = checked(written([*objects, *pods(objects)], tmp_path / "chaos.yaml"))
    assert verdict[0] == 0, verdict[1]


def test_a_run_may_do_what_its_faults_need(objects: list[Manifest]) -> None:
    own = granted(only(objects, "Role", "blockyard-chaos"))
    network = granted(only(objects, "Role", "blockyard-chaos-network"))
    assert needed(WITHOUT_NETEM) <= own
    assert needed(WITH_NETEM) <= own | network
    assert not network & own


def test_a_run_may_do_nothing_else(objects: list[Manifest]) -> None:
    """What kubectl itself needs to carry a command out: to get what it changes, and to wait."""
    assert not {"ClusterRole", "ClusterRoleBinding"} & {one["kind"] for one in objects}
    used = needed(WITH_NETEM) | needed(WITHOUT_NETEM)
    asked = {(need.resource, need.subresource) for need in used}
    allowed = {need for role in objects if role["kind"] == "Role" for need in granted(role)}
    assert {(need.resource, need.subresource) for need in allowed} == asked
    for need in allowed - used:
        assert need.verb in {"get", "list", "watch"}, need


def test_no_pod_but_those_of_a_run_has_the_account(objects: list[Manifest]) -> None:
    account = only(objects, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    for one in pods(objects):
        assert one["spec"]["serviceAccountName"] == account["metadata"]["name"]
        assert one["spec"]["automountServiceAccountToken"] is True


def test_each_way_of_a_closed_namespace_leads_to_a_port_that_is_open(
    objects: list[Manifest],
) -> None:
    cluster = overlay("prod")
    chaos_labels = pods(objects)[0]["metadata"]["labels"]
    out = only(objects, "NetworkPolicy", "chaos-to-cluster")["spec"]
    assert selects(out["podSelector"], chaos_labels)
    for name, role, port in (
        ("gateway-from-chaos", "gateway", "http"),
        ("control-plane-from-chaos", "control-plane", "control"),
    ):
        way = only(objects, "NetworkPolicy", name)["spec"]
        target = pod(cluster, role)
        assert selects(way["podSelector"], target["metadata"]["labels"])
        assert selects(way["ingress"][0]["from"][0]["podSelector"], chaos_labels)
        (opened,) = (
            one["containerPort"]
            for one in target["spec"]["containers"][0]["ports"]
            if one["name"] == port
        )
        assert [one["port"] for one in way["ingress"][0]["ports"]] == [opened]
        goals = [to["podSelector"] for rule in out["egress"] for to in rule.get("to", ())]
        assert way["podSelector"] in goals


def test_a_run_asks_services_that_exist(objects: list[Manifest]) -> None:
    services = by_name(overlay("prod"))
    for one in pods(objects):
        container = one["spec"]["containers"][0]
        words = " ".join((*container["command"], *container.get("args", ())))
        asked = re.findall(r"--target=http://([\w-]+)|--control=([\w-]+):(\d+)", words)
        (gateway, _, _), (_, control, port) = asked
        assert services["Service", gateway]["spec"]["ports"][0]["port"] == 80
        assert services["Service", control]["spec"]["ports"][0]["port"] == int(port)
        assert re.search(r'--kubectl=(\$\(NAMESPACE\)|"\$NAMESPACE") ', words)
        (told,) = [each for each in container["env"] if each["name"] == "NAMESPACE"]
        assert told["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_the_words_of_a_run_are_those_of_the_command(objects: list[Manifest]) -> None:
    for one in pods(objects):
        container = one["spec"]["containers"][0]
        words = [*container["command"], *container.get("args", ())]
        if words[0] == "sh":
            words = shlex.split(words[-1].replace("$(date +%Y%m%d)", "20260101"))[1:]  # exec
        words = [re.sub(r"\$\(?NAMESPACE\)?", "blockyard", word) for word in words]
        assert words[:3] == ["blockyard", "chaos", "run"]
        context = chaos_run.make_context("run", words[3:], resilient_parsing=False)
        assert context.params["target"] == "http://blockyard-gateway"
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert str(context.params["json_path"].parent) in mounted, "failures are kept beside it"


def test_a_single_run_brings_its_rights_and_no_night() -> None:
    kinds = {one["kind"] for one in rendered(CHAOS / "run")}
    assert kinds == {"Job", "ServiceAccount", "Role", "RoleBinding"}


def test_a_run_shows_an_operators_key_where_there_is_one(objects: list[Manifest]) -> None:
    for one in pods(objects):
        (key,) = [e for e in one["spec"]["containers"][0]["env"] if e["name"] == KEY_VARIABLE]
        reference = key["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "blockyard-operator-key", "key": "key", "optional": True}


@pytest.mark.parametrize("folder", ["run", "nightly"])
def test_a_run_knows_no_namespace_but_its_own(folder: str, tmp_path: Path) -> None:
    theirs = built(tmp_path, resources=[f"chaos/{folder}"], components=ADDED, namespace="team-b")
    assert {one["metadata"]["namespace"] for one in theirs} == {"team-b"}
    subjects = [who for one in theirs for who in one.get("subjects", ())]
    assert len(subjects) == 2
    assert {who["namespace"] for who in subjects} == {"team-b"}
    for one in pods(theirs):
        assert "--kubectl=blockyard" not in str(one)


@pytest.mark.parametrize("folder", ["run", "nightly"])
def test_a_run_can_be_a_member_and_pulled_from_a_registry_that_asks(
    folder: str, tmp_path: Path
) -> None:
    components = ("chaos/mtls", "components/pull-secrets")
    (one,) = pods(built(tmp_path, resources=[f"chaos/{folder}"], components=components))
    (container,) = one["spec"]["containers"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "internal-tls"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert env["BLOCKYARD_INTERNAL_TLS"] == mount["mountPath"]
    (option,) = [o for o in chaos_run.params if o.name == "internal_tls"]
    assert option.envvar == "BLOCKYARD_INTERNAL_TLS"
    assert one["spec"]["imagePullSecrets"] == [{"name": "registry-credentials"}]


def test_chart_and_components_mean_the_same_by_a_member(tmp_path: Path) -> None:
    switches = ("chaos.enabled=true", "mtls.enabled=true")
    from_chart = by_name(chart(CHART_VALUES["prod"], *switches))
    components = ("chaos/closed", "chaos/mtls")
    ours = by_name(built(tmp_path, resources=["chaos/nightly"], components=components))
    assert {key: from_chart[key] for key in ours} == ours


def test_the_night_is_a_scenario_that_a_cluster_of_two_each_can_do() -> None:
    scenario = load_file(CHAOS / "nightly" / "nightly.toml")
    for timed in scenario.faults:
        assert WITHOUT_NETEM.steps(timed.fault, STANDING)
    longest = only(_objects(), "CronJob")["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    assert scenario.seconds * 4 < longest, "references, healing and loading weights take time too"


NOT_ON_KUBERNETES = {
    "clock-skew": "skew: containers share the clock of their node",
    "network-clients": "clients: they come from outside, where kubectl has no say",
    "redis-failover": "fail-over: this Redis has no replica that could take its place",
}


def test_each_scenario_can_be_played_on_kubernetes_or_says_why_not() -> None:
    """Poison besides: no replica of a cluster dies of it (target.py says so)."""
    refused = {}
    for scenario in map(load, names()):
        try:
            for timed in scenario.faults:
                WITH_NETEM.steps(timed.fault, STANDING)
        except CannotDo as error:
            refused[scenario.name] = str(error)
    assert refused == NOT_ON_KUBERNETES


def test_the_chart_renders_the_same_objects_where_it_is_asked_to() -> None:
    name = CHART_VALUES["prod"]
    switch = ("chaos.enabled=true", "chaos.netemImage=tools:1")
    before, after = by_name(chart(name)), by_name(chart(name, *switch))
    added = {key: after[key] for key in after.keys() - before.keys()}
    assert {key: after[key] for key in before} == before
    expected = {key: one for key, one in by_name(_objects()).items() if key[0] != "Job"}
    script: list[str] = container_of(added["CronJob", "blockyard-chaos"])["command"]
    assert " --netem-image=tools:1 " in script[-1]
    script[-1] = script[-1].replace(" --netem-image=tools:1", "")
    assert added == expected


def test_no_chart_has_chaos_that_did_not_ask_for_it() -> None:
    for values in CHART_VALUES.values():
        assert not any("chaos" in one["metadata"]["name"] for one in chart(values))


def container_of(cron_job: Manifest) -> dict[str, Any]:
    template = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def test_kubectl_itself_takes_every_command() -> None:
    """As far as asking a server that is not there: a word that it does not know ends it before."""
    nowhere = ("--server", "http://127.0.0.1:1")
    kubectl = Kubectl(KubectlOptions("blockyard"))
    for fault in FAULTS:
        for step in WITH_NETEM.steps(fault, STANDING):
            for command in step.commands:
                words = [program("kubectl"), *nowhere, *kubectl.argv(command)[1:]]
                verdict = subprocess.run(
                    words, input=command.stdin, capture_output=True, text=True, check=False
                )
                assert "refused" in verdict.stderr, verdict.stderr
