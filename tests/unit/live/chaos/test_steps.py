"""Every kind of fault is exactly these commands, or says by its name why it is none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from orchestrator.chaos.faults import (
    Break,
    Delay,
    FailOver,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Scale,
    Skew,
    Slow,
)
from orchestrator.chaos.world import CannotDo
from orchestrator.live.chaos.kubectl import Command
from orchestrator.live.chaos.steps import MARGIN_S, OVER
from tests.unit.live.chaos.pods import SERVE_CONFIG, STANDING, WITH_NETEM, WITHOUT_NETEM

SHELL = ("--container", "ray-worker", "--", "sh", "-c")
AT_ONCE = ("--grace-period=0", "--force", "--wait=false")
GENTLY = ("--wait=true", "--timeout=300s")
KILL = "pkill -KILL -f '^ray::ServeReplica:'"
STOP = "pkill -STOP -f '^ray::ServeReplica:'"
CONT = "pkill -CONT -f '^ray::ServeReplica:'"
CONT_AT_EXIT = (
    "trap 'pkill -CONT -f '\"'\"'^ray::ServeReplica:'\"'\"'' EXIT; trap 'exit 1' HUP INT TERM; "
)


def commands(fault: Fault) -> list[list[Command]]:
    """Step by step, where the network may not be touched."""
    return [list(step.commands) for step in WITHOUT_NETEM.steps(fault, STANDING)]


def words(fault: Fault) -> list[list[tuple[str, ...]]]:
    return [[command.words for command in step] for step in commands(fault)]


def beside(fault: Fault) -> list[tuple[str, str]]:
    """The pod and the script of each debug container."""
    (step,) = WITH_NETEM.steps(fault, STANDING)
    found = []
    for command in step.commands:
        debug, pod, *options, script = command.words
        assert [debug, *options] == [
            *("debug", "--image", "tools:1", "--profile", "netadmin"),
            *("--custom", "/dev/stdin", "--attach", "--quiet", "--", "sh", "-c"),
        ]
        added = json.loads(command.stdin)["securityContext"]["capabilities"]
        assert added == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        assert command.last_word == OVER
        found.append((pod, script.removesuffix(f" && echo {OVER}")))
    return found


def test_a_member_is_killed_inside_its_pod() -> None:
    for who, pod in (
        ("replica-1", "blockyard-replica-1"),
        ("gateway-0", "blockyard-gateway-0"),
        ("control-0", "blockyard-control-plane-0"),
        ("leader", "blockyard-control-plane-1"),
    ):
        assert words(Kill(who, 1.0)) == [[("exec", pod, *SHELL, KILL)]]


def test_a_node_and_redis_go_with_their_pods() -> None:
    assert words(Kill("node-1", 1.0)) == [
        [
            ("delete", "pod", "blockyard-replica-1", *AT_ONCE),
            ("delete", "pod", "blockyard-gateway-1", *AT_ONCE),
        ]
    ]
    assert words(Kill("redis", 1.0)) == [[("delete", "pod", "blockyard-redis-0", *AT_ONCE)]]


def test_who_is_paused_goes_on_by_itself() -> None:
    script = f"{CONT_AT_EXIT}{STOP}; sleep 2.5"
    ((command,),) = commands(Pause("replica-0", 2.5))
    assert command.words == ("exec", "blockyard-replica-0", *SHELL, script)
    assert command.within_s == 2.5 + MARGIN_S


def test_who_is_slow_runs_for_its_part_of_each_period() -> None:
    script = (
        f"{CONT_AT_EXIT}end=$(($(date +%s) + 3)); "
        'while [ "$(date +%s)" -lt "${end}" ]; do '
        f"{STOP}; sleep 0.15; {CONT}; sleep 0.05; done"
    )
    assert words(Slow("gateway-1", 4.0, 2.5)) == [[("exec", "blockyard-gateway-1", *SHELL, script)]]


def test_one_after_the_other_restarts_and_each_must_serve_before_the_next() -> None:
    fault = Restart(("replica-0", "redis"))
    assert words(fault) == [
        [("delete", "pod", "blockyard-replica-0", *GENTLY)],
        [("delete", "pod", "blockyard-redis-0", *GENTLY)],
    ]
    assert all(step.until_ready for step in WITHOUT_NETEM.steps(fault, STANDING))


def test_only_the_registry_is_flushed() -> None:
    """Whether the script does it is tried in tests/deploy/test_redis.py."""
    (((*where, script),),) = words(Flush())
    assert where == [
        *("exec", "blockyard-control-plane-0", "--container", "ray-worker", "--"),
        *("python", "-c"),
    ]
    assert "scan_iter('orch:*')" in script


def test_scaling_changes_one_number_of_the_serve_config() -> None:
    (((*where, patch),),) = words(Scale(4))
    assert where == ["patch", "rayservice", "blockyard", "--type", "merge", "--patch"]
    text = json.loads(patch)["spec"]["serveConfigV2"]
    asked = yaml.safe_load(SERVE_CONFIG)
    asked["applications"][0]["deployments"][1]["num_replicas"] = 4
    assert yaml.safe_load(text) == asked


def test_parted_members_are_kept_apart_by_two_policies() -> None:
    key = "blockyard/chaos-run"
    first, (create,), last = commands(Part("gateway-0", "replica-1", 3.0))
    assert [command.words for command in first] == [
        ("label", "pod", "blockyard-gateway-0", f"{key}=one", "--overwrite"),
        ("label", "pod", "blockyard-replica-1", f"{key}=other", "--overwrite"),
    ]
    assert create.words == ("create", "--filename", "-")
    assert [command.words for command in last] == [
        ("delete", "networkpolicies", "--selector", "blockyard/chaos"),
        ("label", "pod", "blockyard-gateway-0", f"{key}-", "--overwrite"),
        ("label", "pod", "blockyard-replica-1", f"{key}-", "--overwrite"),
    ]
    assert WITHOUT_NETEM.steps(Part("gateway-0", "replica-1", 3.0), STANDING)[1].then_s == 3.0
    specs = [item["spec"] for item in json.loads(create.stdin)["items"]]
    kept_out = {
        spec["podSelector"]["matchLabels"][key]: peer["podSelector"]["matchExpressions"][0]
        for spec in specs
        for peer in spec["ingress"][0]["from"]
        if "podSelector" in peer
    }
    assert kept_out == {
        "one": {"key": key, "operator": "NotIn", "values": ["other"]},
        "other": {"key": key, "operator": "NotIn", "values": ["one"]},
    }


def test_both_ways_between_two_are_delayed_lossy_or_shut() -> None:
    def script(netem: str, ip: str) -> str:
        return (
            "trap 'tc qdisc del dev eth0 root' EXIT; trap 'exit 1' HUP INT TERM; "
            "tc qdisc add dev eth0 root handle 1: prio bands 4 && "
            f"tc qdisc add dev eth0 parent 1:4 handle 40: netem {netem} && "
            "tc filter add dev eth0 parent 1: protocol ip prio 1 "
            f"u32 match ip dst {ip}/32 flowid 1:4 && sleep 3"
        )

    for fault, netem in (
        (Delay("gateway-0", "replica-1", 0.25, 3.0), "delay 250ms"),
        (Loss("gateway-0", "replica-1", 0.3, 3.0), "loss 30.00%"),
        (Part("gateway-0", "replica-1", 3.0), "loss 100%"),
    ):
        assert beside(fault) == [
            ("blockyard-gateway-0", script(netem, "10.0.0.11")),
            ("blockyard-replica-1", script(netem, "10.0.0.20")),
        ]


def test_redis_is_paused_and_slowed_by_its_network() -> None:
    way = "trap 'tc qdisc del dev eth0 root' EXIT; trap 'exit 1' HUP INT TERM; "
    add = f"{way}tc qdisc add dev eth0 root netem"
    assert beside(Pause("redis", 3.0)) == [("blockyard-redis-0", f"{add} loss 100% && sleep 3")]
    slow = f"{add} delay 199ms && sleep 3"
    assert beside(Slow("redis", 200.0, 3.0)) == [("blockyard-redis-0", slow)]


def test_connections_with_every_pod_of_a_node_are_broken() -> None:
    assert beside(Break("gateway-1", "node-0")) == [
        ("blockyard-gateway-1", "ss --kill dst 10.0.0.10"),
        ("blockyard-gateway-1", "ss --kill dst 10.0.0.20"),
    ]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Skew("replica-0", 60.0), "clock"),
        (FailOver(), "no replica"),
        (Delay("gateway-0", "replica-0", 0.1, 1.0), "--netem-image"),
        (Loss("gateway-0", "replica-0", 0.1, 1.0), "--netem-image"),
        (Break("gateway-0", "replica-0"), "--netem-image"),
        (Pause("redis", 1.0), "--netem-image"),
        (Slow("redis", 4.0, 1.0), "--netem-image"),
        (Kill("replica-2", 1.0), "replica-2: the namespace has 2 pods"),
        (Scale(9), "at most 8"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(fault: Fault, reason: str) -> None:
    with pytest.raises(CannotDo, match=reason):
        WITHOUT_NETEM.steps(fault, STANDING)


def test_where_policies_exist_no_other_one_can_part_members() -> None:
    fault = Part("gateway-0", "replica-0", 1.0)
    with pytest.raises(CannotDo, match="no other takes away"):
        WITHOUT_NETEM.steps(fault, replace(STANDING, has_policies=True))
    assert WITH_NETEM.steps(fault, replace(STANDING, has_policies=True))


def test_a_number_that_follows_the_load_cannot_be_set() -> None:
    assert STANDING.service is not None
    config = yaml.safe_load(SERVE_CONFIG)
    del config["applications"][0]["deployments"][1]
    by_load = replace(STANDING.service, serve_config=yaml.safe_dump(config))
    with pytest.raises(CannotDo, match="to their load"):
        WITHOUT_NETEM.steps(Scale(3), replace(STANDING, service=by_load))


def test_a_leader_that_nobody_knows_cannot_be_harmed() -> None:
    with pytest.raises(CannotDo, match="leader"):
        WITHOUT_NETEM.steps(Kill("leader", 1.0), replace(STANDING, leader="10.9.9.9:8802"))
