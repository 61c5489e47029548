"""`blockyard load` as people use it: a process, its output, its files, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integration.load.fake_server import Exchange, FakeServer
from tests.ports import free_ports
from tests.waiting import wait_for

WITHIN_S = 120.0
CHARACTERS_PER_TOKEN = 3.3
TEMPLATE_TOKENS = 11


@contextmanager
def launch(*words: str) -> Iterator[subprocess.Popen[str]]:
    """It does not outlive a test that fails."""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "load", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": "secret"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def loaded(*words: str) -> tuple[int, str, str]:
    """Its exit code, and what it wrote."""
    with launch(*words) as process:
        out, err = process.communicate(timeout=WITHIN_S)
    return process.returncode, out, err


def counted(body: dict[str, Any]) -> int:
    """As this server's tokenizer has it."""
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return len(prompt)
    text = prompt or "".join(message["content"] for message in body["messages"])
    return round(len(text) / CHARACTERS_PER_TOKEN) + TEMPLATE_TOKENS * ("messages" in body)


async def answers(exchange: Exchange) -> None:
    tokens = exchange.body["max_tokens"]
    await exchange.tokens(*[" word"] * tokens)
    prompt_tokens = counted(exchange.body)
    await exchange.end(tokens, prompt_tokens, prompt_tokens // 2)


def test_a_run_asks_for_what_its_workload_says_and_reports_it(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    with FakeServer(answers) as server:
        code, out, err = loaded(
            f"--url={server.url}/v1",
            "--workload=mix",
            "--rate=15",
            "--seconds=2",
            "--scale=0.1",
            "--spike=1:3x:0.5",
            f"--json={record}",
        )
    assert code == 0, err
    assert "a-model" in err and "3.31 characters a token" in err
    document = json.loads(record.read_text())
    overall = document["overall"]
    assert overall["answered"] == overall["requests"] == len(document["rows"]) > 15
    assert overall["hit_ratio"] == pytest.approx(0.5, abs=0.02)
    assert set(document["by_tag"]) == {"chat", "agent"}
    assert list(document["by_phase"]) == ["before", "spike", "after"]
    assert {row["end"] for row in document["rows"]} == {"answered"}
    assert "goodput" in out and "TTFT" in out
    sent = server.seen[2:]  # the ruler came first
    assert {exchange.headers["authorization"] for exchange in sent} == {"Bearer secret"}
    assert len({exchange.headers["x-request-id"] for exchange in sent}) == len(sent)
    systems = {exchange.body["messages"][0]["content"] for exchange in sent if is_chat(exchange)}
    assert len(systems) == 1, "one system prompt for all"
    for exchange in sent:
        asked = 104 if is_chat(exchange) else 400
        assert counted(exchange.body) <= asked + 1
    assert all(counted(exchange.body) >= 62 for exchange in sent if is_chat(exchange))


def is_chat(exchange: Exchange) -> bool:
    return exchange.headers["x-request-class"] == "interactive"


def test_token_prompts_are_exact_and_below_their_bound(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_ms,input_tokens,output_tokens\n0,100,3\n20,1,2\n40,4000,1\n")
    with FakeServer(answers) as server:
        code, out, err = loaded(
            f"--url={server.url}", f"--workload={trace}", "--prompts=tokens", "--vocab=256"
        )
    assert code == 0, err
    assert sorted(counted(exchange.body) for exchange in server.seen) == [1, 100, 4000]
    assert all(32 <= id_ < 256 for exchange in server.seen for id_ in exchange.body["prompt"])
    assert "hit 50.0%" in out


def test_refusals_stand_beside_the_latencies() -> None:
    async def sheds(exchange: Exchange) -> None:
        is_ruler = len(server.seen) <= 2
        if is_ruler or len(server.seen) % 2:
            await answers(exchange)
        else:
            exchange.refuse(429, "overloaded")

    with FakeServer(sheds) as server:
        code, out, err = loaded(f"--url={server.url}", "--rate=20", "--seconds=1", "--scale=0.05")
    assert code == 0, err
    assert f"refused: {(len(server.seen) - 2) // 2} overloaded" in out


def test_a_run_in_which_requests_fail_says_so_and_exits_with_one() -> None:
    async def fails(exchange: Exchange) -> None:
        match len(server.seen):
            case 3:
                exchange.refuse(500, "internal_error")
            case 4:
                await exchange.tokens(" half")  # and nothing more
            case _:
                await answers(exchange)

    with FakeServer(fails) as server:
        code, out, err = loaded(f"--url={server.url}", "--rate=20", "--seconds=1", "--scale=0.05")
    assert code == 1
    assert f"2 of {len(server.seen) - 2} requests failed" in err
    assert "refused: 1 internal_error" in out and "broken: 1 " in out


def test_a_server_that_does_not_know_ignore_eos_is_asked_without() -> None:
    async def is_strict(exchange: Exchange) -> None:
        if "ignore_eos" in exchange.body:
            exchange.refuse(400, "unknown_parameter")
        else:
            await answers(exchange)

    with FakeServer(is_strict) as server:
        code, _, err = loaded(f"--url={server.url}", "--rate=10", "--seconds=0.5", "--scale=0.05")
    assert code == 0, err
    assert "answers end where the model likes" in err


def test_nobody_there_is_said_in_one_sentence() -> None:
    (port,) = free_ports(1)
    code, _, err = loaded(f"--url=http://127.0.0.1:{port}")
    assert code == 1
    assert err.strip().endswith("nobody answers there (connection_refused)")


def test_ctrl_c_stops_sending_and_reports_what_was_heard(tmp_path: Path) -> None:
    record = tmp_path / "run.json"

    async def answers_some(exchange: Exchange) -> None:
        if len(server.seen) % 2:
            await asyncio.Event().wait()
        await answers(exchange)

    words = ("--rate=50", "--seconds=600", "--scale=0.05", f"--json={record}")
    with FakeServer(answers) as server, launch(f"--url={server.url}", *words) as process:
        wait_for(lambda: len(server.seen) >= 10, within_s=WITHIN_S, what="some requests")
        server.script = answers_some
        wait_for(lambda: len(server.seen) >= 30, within_s=WITHIN_S, what="more requests")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 130, err
    document = json.loads(record.read_text())
    assert 0 < document["overall"]["answered"] < len(server.seen)
    assert document["under_way"] > 0
    assert document["seconds"] < 600
    assert "under way when the run was interrupted" in out


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="nothing to draw with")
def test_a_run_can_be_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "run.png"
    with FakeServer(answers) as server:
        code, _, err = loaded(
            f"--url={server.url}",
            "--rate=20",
            "--seconds=1",
            "--scale=0.05",
            "--spike=0.5:2x:0.2",
            f"--plot={picture}",
        )
    assert code == 0, err
    assert picture.read_bytes().startswith(b"\x89PNG")
