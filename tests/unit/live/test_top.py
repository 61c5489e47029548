"""What `blockyard top` draws of a state."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from orchestrator.live.commands.top_picture import BAR_CELLS, Speed, bar, picture, sparks

BLOCKS = {"total": 320, "free": 160, "cached": 80, "shared": 40, "private": 40, "promised": 20}
REPLICA = {
    "replica": "a",
    "state": "open",
    "blocks": BLOCKS,
    "running": 3,
    "waiting": 1,
    "promised": 1,
    "step_ms": 12.5,
    "decode_tokens": 100,
}
REQUEST = {
    "request_id": "chat-1",
    "class": "interactive",
    "tenant": "acme",
    "phase": "decode",
    "outcome": None,
    "replica": "a",
    "reason": "prefix_hit",
    "age_ms": 900.0,
    "ended_ms": None,
    "ttft_ms": 42.0,
    "tpot_ms": 7.0,
    "prompt_tokens": 600,
    "hit_tokens": 560,
    "completion_tokens": 12,
}
STATE: dict[str, Any] = {
    "at_ms": 1000,
    "is_ready": True,
    "model": {"name": "tiny", "block_size": 16},
    "in_flight": 1,
    "waiting": {"interactive": 0, "agent": 2, "batch": 0},
    "replicas": [REPLICA],
    "requests": [REQUEST],
    "moves": [
        {"id": "1", "request_id": "r", "source": "a", "target": "b", "end": "moved", "age_ms": 2000}
    ],
    "pace": {
        "bucket_ms": 10_000,
        "buckets": 30,
        "last": 100,
        "ttft": {"interactive": [[98, 1, 10.0, 10.0], [100, 1, 80.0, 90.0]]},
        "tpot": {},
        "now": {"ttft": {"interactive": 42.0}, "tpot": {}},
    },
}


def drawn(state: dict[str, Any] = STATE, **more: float) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(picture(state, 80.0, rows=40, **more))
    return capture.get()


def test_a_bar_is_in_proportion() -> None:
    assert bar(BLOCKS).plain == "█" * 4 + "▓" * 4 + "◇" * 2 + "░" * 8 + "·" * 14


@pytest.mark.parametrize("kind", ["shared", "private", "promised", "cached"])
def test_what_there_is_little_of_is_still_seen(kind: str) -> None:
    blocks = dict.fromkeys(BLOCKS, 0) | {"total": 9_000, "free": 9_000}
    blocks[kind] = 1
    if kind != "promised":
        blocks["free"] -= 1
    drawn_bar = bar(blocks).plain
    assert len(drawn_bar) == BAR_CELLS
    assert len(set(drawn_bar)) == 2


def test_a_full_pool_fills_its_bar() -> None:
    full = dict.fromkeys(BLOCKS, 0) | {"total": 7, "shared": 1, "private": 6}
    assert bar(full).plain == "█" * 5 + "▓" * 27


def test_a_picture_has_everything() -> None:
    text = drawn()
    for words in ("live", "1 streams, 2 in line, 80 tokens/s", "42 ms", "chat-1", "a → b"):
        assert words in text


def test_old_figures_are_called_old() -> None:
    assert "NO NEWS FOR 9 s" in drawn(age_s=9.0)


def test_a_silent_replica_is_said_first() -> None:
    silent = {**STATE, "replicas": [{**REPLICA, "state": "silent"}]}
    assert "1 of 1 replicas silent" in drawn(silent).splitlines()[0]


def test_a_spark_is_as_high_as_its_median_and_missing_where_there_was_none() -> None:
    assert sparks(STATE["pace"], "ttft", "interactive")[-3:] == "▁ █"
    assert sparks(STATE["pace"], "tpot", "interactive") == ""


def test_speed_is_known_from_the_second_look_on() -> None:
    speed = Speed()
    later = {**STATE, "at_ms": 3000, "replicas": [{**REPLICA, "decode_tokens": 500}]}
    assert speed.after(STATE) is None
    assert speed.after(later) == 200.0


def test_a_replica_that_began_anew_spoils_one_look() -> None:
    speed = Speed()
    speed.after({**STATE, "replicas": [{**REPLICA, "decode_tokens": 500}]})
    assert speed.after({**STATE, "at_ms": 2000}) is None
    later = {**STATE, "at_ms": 3000, "replicas": [{**REPLICA, "decode_tokens": 101}]}
    assert speed.after(later) == 1.0
