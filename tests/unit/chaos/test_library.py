"""Scenario files: those that come with blockyard are sound, and a wrong one says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.chaos.bad_scenario import BadScenario
from orchestrator.chaos.faults import Delay, FailOver, Kill, Loss, Part, Restart, Skew
from orchestrator.chaos.library import load, load_file, names
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.stretch import lasting
from orchestrator.chaos.strict import kind_of

HEAD = 'about = "a"\nseconds = 10\n[[loads]]\nlike = "chat"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", names())
def test_every_scenario_loads_and_says_what_it_is_about(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.about.endswith(".")


def test_the_library_is_complete() -> None:
    wanted = """spike-x3-chat spike-x10-chat spike-x3-agents spike-x10-agents spike-x3-both
        spike-x10-both herd agents-fill-memory slow-clients mass-disconnect replica-kill
        replica-pause slow-replica node-loss gateway-kill leader-kill redis-kill redis-pause
        redis-flush redis-slow redis-failover network-delay network-loss clock-skew
        connections-break network-clients network-redis network-members
        kv-exhaustion poison rolling-restart scale storm"""
    assert set(wanted.split()) <= set(names())


def test_any_two_who_talk_are_parted_delayed_and_lose_what_they_say() -> None:
    """Somewhere in the library. Gateways and control planes have no way to each other."""
    disturbed: dict[str, set[frozenset[str]]] = {}
    for scenario in map(load, names()):
        for fault in (timed.fault for timed in scenario.faults):
            if isinstance(fault, Part | Delay | Loss):
                ends = (name.partition("-")[0] for name in (fault.one, fault.other))
                disturbed.setdefault(kind_of(fault), set()).add(frozenset(ends))
    ways = {
        frozenset(way.split())
        for way in (
            "clients gateway",
            "gateway replica",
            "gateway redis",
            "replica redis",
            "replica",  # and another one
            "leader replica",
            "leader redis",
        )
    }
    assert disturbed == {"part": ways, "delay": ways, "loss": ways}


def test_a_file_of_one_s_own_is_named_by_the_file(tmp_path: Path) -> None:
    scenario = load_file(written(tmp_path, HEAD + '[[faults]]\nat_s = 1\nkind = "fail-over"\n'))
    assert scenario.name == "own"
    assert scenario.faults[0].fault == FailOver()


def test_a_load_overrides_what_its_kind_says(tmp_path: Path) -> None:
    (chat,) = load_file(written(tmp_path, HEAD + "rate = 7\nvariety = 2\n")).loads
    assert (chat.rate, chat.variety, chat.request_class) == (7.0, 2, "interactive")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seconds =", "own.toml: "),
        (HEAD + "rate = inf\n", "own.toml: loads[0]: rate: must be finite"),
        (
            HEAD + '[[faults]]\nat_s = 30.0\nkind = "flush"\n',
            "own.toml: faults[0]: at_s: nobody asks any more after 10 s",
        ),
        (HEAD + "colour = 3\n", "own.toml: loads[0]: colour: unknown; known are tag"),
        ("colour = 3\n" + HEAD, "own.toml: colour: unknown; known are name, about"),
        ('name = "x"\n' + HEAD, "own.toml: name: a scenario has the name of its file"),
        ('about = "a"\nseconds = 3\n', "own.toml: loads: missing"),
        ('about = "a"\nseconds = 3\nloads = []\n', "own.toml: loads: at least one is needed"),
        ('about = "a"\nseconds = 3\nloads = 4\n', "own.toml: loads: expected [[loads]]"),
        (HEAD.replace("chat", "chess"), "loads[0]: like: 'chess' is none of agents, batch, chat"),
        (HEAD.replace("10", '"10"'), "own.toml: seconds: expected a number, got '10'"),
        (HEAD.replace("10", "0"), "own.toml: seconds: must be positive"),
        ("patience_s = 0\n" + HEAD, "own.toml: patience_s: must be positive"),
        (HEAD + "rate = true\n", "loads[0]: rate: expected a number, got True"),
        (HEAD + "prompt_tokens = [3]\n", "prompt_tokens: expected 2 values, got 1"),
        (HEAD + "prompt_tokens = 3\n", "prompt_tokens: expected a list, got 3"),
        (HEAD + "output_tokens = [9, 3]\n", "output_tokens: must be [from, to]"),
        (HEAD + 'request_class = "vip"\n', "request_class: 'vip' is none of interactive"),
        (HEAD + "leaves = 2\n", "leaves: must be a share from 0 to 1"),
        (HEAD + "reads_per_s = 0\n", "reads_per_s: must be positive"),
        (HEAD + "variety = 0\n", "variety: must be at least 1"),
        (HEAD + "rate = -1\n", "must not be negative"),
        (HEAD + "prefix_tokens = -1\n", "prefix_tokens: must not be negative"),
        (HEAD + "spikes = [{ at_s = 1, seconds = 1, times = 0.5 }]\n", "loads[0]: spikes[0]: "),
        (HEAD + "[shape]\nreplicas = 65\n", "shape: replicas: at most 64"),
        (HEAD.replace("10", "1e9"), "own.toml: seconds: at most 86,400"),
        (HEAD + "[shape]\nreplicas = 0\n", "shape: replicas: too small"),
        (HEAD + '[expect]\nrefused_classes = ["vip"]\n', "expect: refused_classes: 'vip'"),
        (HEAD + "[storm]\nfaults = [1, 2]\n", "own.toml: storm: seconds: missing"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadScenario) as raised:
        load_file(written(tmp_path, text))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ('kind = "quake"', "faults[0]: kind: 'quake' is none of kill, pause, slow"),
        ('kind = "kill"\nwho = "replica-0"', "faults[0] (kill): seconds: missing"),
        ('kind = "kill"\nwho = "replica-2"\nseconds = 1', "who: there is no replica-2"),
        ('kind = "kill"\nwho = "cat"\nseconds = 1', "who: 'cat' is not redis, leader, or"),
        ('kind = "kill"\nwho = "node-2"\nseconds = 1', "there is no node-2"),
        ('kind = "kill"\nwho = "redis"\nseconds = 1e6', "seconds: at most 86,400"),
        ('kind = "scale"\nreplicas = 100000', "replicas: at most 64"),
        ('kind = "kill"\nwho = "redis"\nseconds = -1', "seconds: must not be negative"),
        ('kind = "slow"\nwho = "redis"\nseconds = 1\ntimes = 0.5', "times: must be at least 1"),
        ('kind = "restart"\nwho = ["gateway-0", "dog"]', "who: 'dog' is not"),
        ('kind = "restart"\nwho = ["gateway-0", "redis"]', "who: redis has no orderly restart"),
        ('kind = "skew"\nwho = "redis"\nseconds = 1', "who: the clock of redis cannot be moved"),
        (
            'kind = "part"\none = "redis"\nother = "redis"\nseconds = 1',
            "own.toml: faults[0]: other: 'redis' has no way to itself",
        ),
        ('kind = "break"\none = "node-0"\nother = "gateway-0"', "other: 'gateway-0' has no way"),
        (
            'kind = "delay"\none = "gateway-1"\nother = "gateway-1"\nseconds = 1\ndelay_s = 1',
            "other: 'gateway-1' has no way to itself",
        ),
        (
            'kind = "loss"\none = "leader"\nother = "leader"\nseconds = 1\nshare = 0.1',
            "other: 'leader' has no way to itself",
        ),
        ('kind = "break"\none = "gateway-0"\nother = "gateway-x"', "other: 'gateway-x' is not"),
        ('kind = "kill"\nwho = "clients"\nseconds = 1', "who: 'clients' is not redis, leader, or"),
        ('kind = "break"\none = "clients"\nother = "replica-0"', "clients have ways to gateways"),
        ('kind = "break"\none = "clients"\nother = "clients"', "other: 'clients' has no way to"),
        ('kind = "scale"\nreplicas = 0', "replicas: must be at least 1"),
        (
            'kind = "loss"\none = "redis"\nother = "gateway-0"\nshare = 1\nseconds = 1',
            "share: must be from 0 to less than 1",
        ),
    ],
)
def test_a_fault_that_makes_no_sense_is_named(tmp_path: Path, fault: str, message: str) -> None:
    with pytest.raises(BadScenario) as raised:
        load_file(written(tmp_path, f"{HEAD}[[faults]]\nat_s = 1\n{fault}\n"))
    assert message in str(raised.value)


def test_without_control_planes_there_is_no_leader(tmp_path: Path) -> None:
    shape = "[shape]\ncontrol_planes = 0\n"
    fault = '[[faults]]\nat_s = 1\nkind = "kill"\nwho = "leader"\nseconds = 1\n'
    with pytest.raises(BadScenario, match="who: without control planes there is no leader"):
        load_file(written(tmp_path, HEAD + shape + fault))


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(BadScenario, match="nonsense: no such scenario"):
        load("nonsense")


def stretched(name: str) -> Scenario:
    return lasting(load(name), 5.0)


def test_half_the_time_has_everything_in_half_the_time() -> None:
    kill, _ = stretched("replica-kill").faults
    assert (kill.at_s, kill.fault) == (1.5, Kill("replica-0", 0.75))
    assert stretched("spike-x10-chat").loads[0].spikes[0].at_s == 2.0
    part = stretched("partition-replicas").faults[0].fault
    assert isinstance(part, Part) and part.seconds == 2.0


def test_half_a_storm_has_faults_of_half_the_length() -> None:
    storm = load("storm")
    half = lasting(storm, storm.seconds / 2).storm
    assert storm.storm is not None and half is not None
    assert half.seconds == tuple(seconds / 2 for seconds in storm.storm.seconds)


def test_a_clock_jumps_as_far_in_half_the_time() -> None:
    assert stretched("clock-skew").faults[0].fault == Skew("gateway-0", 5.0)
    assert isinstance(stretched("rolling-restart").faults[0].fault, Restart)


def test_faults_have_names_with_hyphens() -> None:
    assert [kind_of(fault) for fault in (FailOver(), Kill("redis", 1.0))] == ["fail-over", "kill"]
