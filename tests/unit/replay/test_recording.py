"""A recording gives back what was decided on, or says which line is damaged and how."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.route import Placement, RouteConfig, route
from orchestrator.policy.view import ClusterView, Subject
from orchestrator.replay.command import command
from orchestrator.replay.plain import Damaged, decode, encode
from orchestrator.replay.recording import Decision, Recording, RecordingRefused, read_recording
from orchestrator.replay.replay import replay
from protos.messages import ReplicaId
from tests.unit.policy.views import cluster, full, idle, replica_views, subject

A, B = ReplicaId("a"), ReplicaId("b")
VIEW = cluster(idle("a"), replace(idle("b"), prefill_tokens_waiting=5_000))


def record(path: Path, count: int = 3, *, bytes_max: int = 1 << 20) -> Recording:
    recording = Recording(path, bytes_max=bytes_max)
    choose = recording.watch(route)
    for number in range(count):
        choose(VIEW, subject(request_id=f"r{number}"), {B: 30}, RouteConfig())
    recording.close()
    return recording


@given(
    st.lists(st.sampled_from("abcd"), unique=True).flatmap(
        lambda names: st.tuples(*(replica_views(name) for name in names))
    ),
    st.floats(allow_nan=False),
)
@settings(deadline=None)
def test_any_view_comes_back_equal_to_the_last_bit(replicas: tuple[Any, ...], speed: float) -> None:
    replicas = tuple(replace(each, prefill_tokens_per_s=speed) for each in replicas)
    view = ClusterView(7, replicas)
    decision = Decision(
        view, subject(), {A: 3}, RouteConfig(), route(VIEW, subject(), {}, RouteConfig())
    )
    assert decode(Decision, json.loads(json.dumps(encode(decision))), "it") == decision


def test_what_is_watched_is_chosen_as_before_and_can_be_decided_again(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "r")
    placement = recording.watch(route)(VIEW, subject(), {B: 30}, RouteConfig())
    nowhere = recording.watch(route)(cluster(full("a")), subject(), {}, RouteConfig())
    assert placement == route(VIEW, subject(), {B: 30}, RouteConfig())
    assert nowhere is None
    read = list(read_recording(tmp_path / "r"))  # before it is closed: nothing waits in a buffer
    assert [decision.placement for decision in read] == [placement, None]
    recording.close()
    assert replay(read).difference is None


def without_hits(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement | None:
    return route(view, subject, {}, config)


def without_queues(
    view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
) -> Placement | None:
    replicas = tuple(
        replace(each, prefill_tokens_waiting=0, prefill_tokens_promised=0) for each in view.replicas
    )
    return route(ClusterView(view.now_ns, replicas), subject, hits, config)


@pytest.mark.parametrize("mutated", [without_hits, without_queues])
def test_a_policy_that_lost_a_term_of_its_cost_is_seen_to_differ(
    tmp_path: Path, mutated: Any
) -> None:
    record(tmp_path / "r")
    difference = replay(read_recording(tmp_path / "r"), mutated).difference
    assert difference is not None
    assert difference.number == 1
    assert "request r0" in difference.sentence()
    assert "recorded" in difference.sentence()


def test_the_command_tells_same_from_different_from_damaged(tmp_path: Path) -> None:
    path = tmp_path / "r"
    record(path)
    same = CliRunner().invoke(command, [str(path)])
    assert (same.exit_code, same.output) == (0, "3 placements decided again, every one the same\n")
    lines = path.read_text().splitlines(keepends=True)
    decision = json.loads(lines[2])
    decision["placement"]["epoch"] += 1
    path.write_text("".join([*lines[:2], json.dumps(decision) + "\n", *lines[3:]]))
    different = CliRunner().invoke(command, [str(path)])
    assert different.exit_code == 1
    assert "decision 2, request r1: epoch recorded 2, now 1" in different.output
    path.write_text("".join(lines)[:-1])
    damaged = CliRunner().invoke(command, [str(path)])
    assert damaged.exit_code == 1
    assert "line 4 is cut off" in damaged.output


def changed(place: str, change: Callable[[dict[str, Any]], object]) -> Any:
    return pytest.param(place, change, id=place)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        changed("decision.view.replicas[1].blocks_free is missing", lambda d: d["view"][
            "replicas"][1].pop("blocks_free")),
        changed("decision.view.age is unknown", lambda d: d["view"].update(age=1)),
        changed("decision.view.now_ns is a bool, not a int", lambda d: d["view"].update(
            now_ns=True)),
        changed("decision.subject.prompt_tokens is a float, not a int", lambda d: d[
            "subject"].update(prompt_tokens=640.0)),
        changed("decision.view.replicas is a dict, not a list", lambda d: d["view"].update(
            replicas={})),
        changed("decision.hits.b is a str, not a int", lambda d: d["hits"].update(b="30")),
        changed("decision.placement.reason is 'luck', which no RouteReason is", lambda d: d[
            "placement"].update(reason="luck")),
    ],
)  # fmt: skip
def test_damage_is_named_by_line_and_place(
    tmp_path: Path, place: str, change: Callable[[dict[str, Any]], object]
) -> None:
    path = tmp_path / "r"
    record(path, 1)
    header, line = path.read_text().splitlines()
    decision = json.loads(line)
    change(decision)
    path.write_text(f"{header}\n{json.dumps(decision)}\n")
    with pytest.raises(Damaged) as damaged:
        list(read_recording(path))
    assert str(damaged.value) == f"line 2: {place}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1 is missing"),
        (b"{}\n", "line 1: this is no recording of placements in a format known here"),
        (b'{"blockyard_placements":2}\n', "line 1: this is no recording"),
        (b'{"blockyard_placements":1}\n\xff\n', "line 2 is not JSON"),
        (b'{"blockyard_placements":1}\n{"view":\n', "line 2 is not JSON"),
        (b'{"blockyard_placements":1}\n[]\n', "line 2: decision is a list, not a dict"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=message.replace("[", r"\[")):
        list(read_recording(path))


def test_a_full_file_stays_readable_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "r"
    record(tmp_path / "whole", 10)
    assert not caplog.messages
    size = (tmp_path / "whole").stat().st_size
    record(path, 10, bytes_max=size // 2)
    assert path.stat().st_size <= size // 2
    kept = list(read_recording(path))
    assert [each.subject.request_id for each in kept] == [f"r{n}" for n in range(len(kept))]
    assert 0 < len(kept) < 10
    assert caplog.messages == [
        f"no more placements are recorded in {path}: it is as long as it may be"
    ]


def test_a_disk_that_is_full_ends_the_recording_and_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = Recording(tmp_path / "r")
    with open("/dev/full", "w", buffering=1) as full_disk:
        os.dup2(full_disk.fileno(), recording._file.fileno())
    choose = recording.watch(route)
    for _ in range(2):
        assert choose(VIEW, subject(), {B: 30}, RouteConfig()) is not None
    recording.close()
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "No space left on device"
    ]


def test_a_decision_that_would_still_fit_is_not_recorded_after_one_that_did_not(
    tmp_path: Path,
) -> None:
    record(tmp_path / "one", 1)
    recording = Recording(tmp_path / "r", bytes_max=(tmp_path / "one").stat().st_size)
    choose = recording.watch(route)
    choose(cluster(*VIEW.replicas, idle("c")), subject(), {}, RouteConfig())  # too long
    choose(VIEW, subject(request_id="r0"), {B: 30}, RouteConfig())
    recording.close()
    assert list(read_recording(tmp_path / "r")) == []


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(RecordingRefused, match=r"cannot record in .*: Is a directory"):
        Recording(tmp_path)
    with pytest.raises(RecordingRefused, match="No space left on device"):
        Recording(Path("/dev/full"))
