"""A scenario against a URL: references, then faults through kubectl, then a cluster as before.

The server says of each prompt what follows from it; the cluster around it is
told of by a kubectl on the PATH that keeps a diary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest
import yaml

from orchestrator.chaos.faults import Fault, Flush, Kill, Part, Scale, Skew, TimedFault
from orchestrator.chaos.scenario import Load, Scenario, Shape
from orchestrator.chaos.world import CannotDo, Observed
from orchestrator.live.chaos import target
from orchestrator.live.chaos.kubectl import Kubectl, KubectlOptions
from orchestrator.live.chaos.kubernetes import Kubernetes
from orchestrator.live.chaos.target import target_cluster
from orchestrator.workload.heard import End
from tests.integration.chaos.cluster_of_paper import Paper, paper_cluster
from tests.integration.load.fake_server import Exchange, FakeServer, event
from tests.unit.live.chaos.pods import SERVE_CONFIG, WITHOUT_NETEM

CHAT = Load("chat", "interactive", 15.0, 64, (10, 40), (3, 6), variety=4)


def scenario(*faults: Fault, load: Load = CHAT) -> Scenario:
    timed = tuple(TimedFault(0.2, fault) for fault in faults)
    return Scenario("paper", "Faults on paper.", 1.0, Shape(), (load,), timed)


async def honest(exchange: Exchange) -> None:
    """Each choice says what follows from its prompt and number, in two pieces."""
    for choice in range(exchange.body.get("n", 1)):
        said = blake2b(f"{exchange.body['prompt']} {choice}".encode()).hexdigest()
        for piece in (said[:8], said[8:16]):
            await exchange.say(
                event({"choices": [{"index": choice, "text": piece, "finish_reason": None}]})
            )
        await exchange.say(
            event({"choices": [{"index": choice, "text": "", "finish_reason": "length"}]})
        )
    await exchange.say(b"data: [DONE]\n\n")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(honest) as server:
        yield server


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paper:
    return paper_cluster(tmp_path, monkeypatch)


def play(server: FakeServer, *faults: Fault, load: Load = CHAT) -> Observed:
    kubectl = KubectlOptions("blockyard")
    with target_cluster(server.url, model=None, control=None, kubectl=kubectl) as world:
        return world.play(scenario(*faults, load=load), 1, lambda sentence: None)


def test_every_request_is_compared_with_what_its_body_said_in_peace(
    server: FakeServer, paper: Paper
) -> None:
    observed = play(server, Kill("replica-0", 1.0))
    assert {heard.end for heard in observed.heard} == {End.ANSWERED}
    assert {heard.number: heard.said for heard in observed.heard} == observed.expected
    assert observed.leaks == ()
    # Four bodies, each asked twice before; then the requests, with a salt.
    calm = [one for one in server.seen if "cache_salt" not in one.body]
    assert len(calm) == 8
    assert len(server.seen) == 8 + len(observed.heard)
    assert observed.totals["requests_not_compared"] == 0
    assert observed.totals["resumptions"] == 0, "counted before the run began"


def test_faults_are_struck_and_undone(server: FakeServer, paper: Paper) -> None:
    observed = play(server, Kill("leader", 1.0), Flush(), Part("gateway-0", "replica-1", 0.1))
    assert [one.fault.fault for one in observed.struck] == [
        Kill("leader", 1.0),
        Flush(),
        Part("gateway-0", "replica-1", 0.1),
    ]
    assert all(one.began_s >= 0.2 for one in observed.struck)
    changes = paper.changes()
    assert ["exec", "blockyard-control-plane-1"] in [words[:2] for words in changes], "it leads"
    first, *_, last = [words for words in changes if words[0] in ("create", "delete")]
    assert first == ["create", "--filename", "-"]
    assert last == ["delete", "networkpolicies", "--selector", "blockyard/chaos"]


def test_a_scaled_cluster_is_scaled_back(server: FakeServer, paper: Paper) -> None:
    play(server, Scale(4))
    asked = [json.loads(words[-1])["spec"]["serveConfigV2"] for words in paper.changes()]
    assert len(asked) == 2
    (application,) = yaml.safe_load(asked[0])["applications"]
    assert [one["num_replicas"] for one in application["deployments"]] == [2, 4]
    assert asked[1] == SERVE_CONFIG


async def test_policies_that_a_broken_fault_left_are_dropped(paper: Paper) -> None:
    kubernetes = Kubernetes(Kubectl(WITHOUT_NETEM.options), WITHOUT_NETEM)
    await kubernetes.prepare([Part("gateway-0", "replica-1", 0.1)])
    paper.say(names="networkpolicy.networking.k8s.io/left")
    assert await kubernetes.heal() == ()
    assert paper.changes() == [["delete", "networkpolicies", "--selector", "blockyard/chaos"]]


def test_blocks_that_stay_in_use_are_a_leak(
    server: FakeServer, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "QUIET_S", 1.0)
    paper.say(leaks=3)
    assert play(server, Kill("replica-0", 1.0)).leaks == ("a has 3 blocks in use",)


def test_a_cluster_that_others_use_is_not_accused(
    server: FakeServer, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "CALM_S", 1.0)
    blocks = 'blockyard_kv_blocks{replica="a",state="private"} 7.0'
    paper.say(metrics=f"# TYPE blockyard_kv_blocks gauge\n{blocks}\n")
    observed = play(server, Flush())
    assert observed.leaks == ()
    assert observed.totals["leak_checks_skipped"] == 1


def test_a_fault_that_kubectl_could_not_make_is_told_to_the_judge(
    server: FakeServer, paper: Paper
) -> None:
    paper.say(fails_at="pkill -KILL")
    observed = play(server, Kill("replica-0", 1.0), Flush())
    assert [one.fault.fault for one in observed.struck] == [Flush()]
    (leak,) = observed.leaks
    assert "the paper is wet" in leak
    assert len(observed.heard) == len(observed.expected)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Skew("replica-0", 9.0), "clock"), (Kill("replica-7", 1.0), "replica-7")],
)
def test_what_cannot_be_done_is_told_before_anything_is_asked(
    server: FakeServer, paper: Paper, fault: Fault, reason: str
) -> None:
    with pytest.raises(CannotDo, match=reason):
        play(server, Kill("gateway-0", 1.0), fault)
    assert paper.changes() == []
    assert server.seen == []


def test_a_right_that_is_missing_is_named_before_anything_is_broken(
    server: FakeServer, paper: Paper
) -> None:
    paper.say(refused="can-i delete pods")
    with pytest.raises(CannotDo, match=r"not allowed in namespace blockyard: delete pods$"):
        play(server, Kill("node-0", 1.0))
    assert paper.changes() == []


def test_without_kubectl_nothing_can_be_harmed(server: FakeServer) -> None:
    with (
        target_cluster(server.url, model="a-model", control=None, kubectl=None) as world,
        pytest.raises(CannotDo, match="--kubectl"),
    ):
        world.play(scenario(Flush()), 1, lambda sentence: None)


def test_real_replicas_are_not_given_poison(server: FakeServer, paper: Paper) -> None:
    poison = Load("bad", "batch", 2.0, 0, (5, 9), (3, 6), is_poison=True)
    with pytest.raises(CannotDo, match="poison"):
        play(server, load=poison)


def test_what_does_not_repeat_itself_is_counted_and_not_compared(paper: Paper) -> None:
    asked: list[str] = []

    async def waver(exchange: Exchange) -> None:
        asked.append(exchange.body["prompt"])
        exchange.body["prompt"] += str(len(asked))
        await honest(exchange)

    with FakeServer(waver) as server:
        observed = play(server)
    assert observed.expected == {}
    assert observed.totals["bodies_not_repeatable"] == 4
    assert observed.totals["requests_not_compared"] == len(observed.heard)


def test_nobody_at_the_url_is_told() -> None:
    with (
        pytest.raises(CannotDo, match=r"127\.0\.0\.1:1"),
        target_cluster("http://127.0.0.1:1", model=None, control=None, kubectl=None),
    ):
        raise AssertionError("nobody is there")
