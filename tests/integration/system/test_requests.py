"""Requests through the whole real system, as its users send them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from tests.integration.system.conftest import PASSWORD, System
from tests.style.test_layers import ROOT
from tests.waiting import wait_for

pytestmark = pytest.mark.ray

SYSTEM_PROMPT = "You are the assistant of a ferry company. " * 14  # 588 bytes, so 588+ tokens


def ask(client: OpenAI, question: str, **options: object) -> ChatCompletion:
    answer = client.chat.completions.create(  # type: ignore[call-overload]
        model="tiny",
        messages=[
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": question},
        ],
        max_tokens=8,
        temperature=0,
        **options,
    )
    assert isinstance(answer, ChatCompletion)
    return answer


def cached_tokens(answer: ChatCompletion) -> int:
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens_details.cached_tokens or 0


def test_a_second_request_finds_the_blocks_of_the_shared_prompt(system: System) -> None:
    client = system.openai()
    first = client.chat.completions.with_raw_response.create(
        model="tiny",
        messages=[
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": "When?"},
        ],
        max_tokens=8,
        temperature=0,
    )
    holder = first.headers["x-blockyard-replica"]
    assert first.headers["x-blockyard-hit-tokens"] == "0"

    def second() -> bool:
        answer = client.chat.completions.with_raw_response.create(
            model="tiny",
            messages=[
                {"role": "system", "content": SYSTEM_PROMPT},
                {"role": "user", "content": "Where?"},
            ],
            max_tokens=8,
            temperature=0,
        )
        hit_tokens = int(answer.headers["x-blockyard-hit-tokens"])
        return hit_tokens >= 592 - 16 and answer.headers["x-blockyard-replica"] == holder

    # The registry learns of a block a moment after it is full.
    assert wait_for(second, within_s=60, what="a hit at the replica that holds the prompt")


def test_an_answer_is_the_same_cold_and_on_a_hit(system: System) -> None:
    client = system.openai()
    cold = ask(client, "Which?", extra_body={"cache_salt": "a"})
    assert cached_tokens(cold) == 0

    def hit() -> ChatCompletion | None:
        answer = ask(client, "Which?", extra_body={"cache_salt": "a"})
        return answer if cached_tokens(answer) > 0 else None

    warm = wait_for(hit, within_s=60, what="a hit under the same salt")
    foreign = ask(client, "Which?", extra_body={"cache_salt": "b"})
    assert cached_tokens(foreign) == 0
    assert len({a.choices[0].message.content for a in (cold, warm, foreign)}) == 1


def test_the_blocks_of_finished_requests_are_not_used(system: System) -> None:
    ask(system.openai(), "Done?")

    def all_released() -> bool:
        snapshots = [state.snapshot for state in system.replicas()]
        return all(
            s.blocks_used == 0 and s.blocks_free + s.blocks_cached == s.blocks_total
            for s in snapshots
        )

    assert wait_for(all_released, within_s=60, what="free + cached = total on every replica")


def test_status_prints_what_the_control_plane_knows(system: System) -> None:
    port = str(system.control_port)
    command = [sys.executable, "-m", "orchestrator", "status", "--control-port", port]
    printed = subprocess.run([*command, "--json"], capture_output=True, check=True, text=True)
    replicas = json.loads(printed.stdout)["replicas"]
    assert len(replicas) == 2
    for replica in replicas:
        parts = (replica["blocks_free"], replica["blocks_cached"], replica["blocks_used"])
        assert sum(parts) == replica["blocks_total"] == 512
    table = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert "cached" in table


def test_chat_streams_an_answer_to_the_terminal(system: System) -> None:
    command = [sys.executable, "-m", "orchestrator", "chat", "hello", "--max-tokens", "8"]
    command += ["--http-port", str(system.http_port)]
    printed = subprocess.run(command, capture_output=True, check=True)
    assert printed.stdout.strip()


def test_readme_requests_work_as_printed(system: System) -> None:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(bash|python)\n(.*?)```", readme, re.DOTALL)
    assert [language for language, _ in blocks] == ["bash", "python", "python"]
    for language, code in blocks:
        adapted = (
            code.replace("8000", str(system.http_port))
            .replace("8001", str(system.grpc_port))
            .replace("smollm2", "tiny")
        )
        interpreter = [sys.executable, "-c"] if language == "python" else ["bash", "-euc"]
        printed = subprocess.run([*interpreter, adapted], capture_output=True, cwd=ROOT)
        assert printed.returncode == 0, printed.stderr.decode()
        assert printed.stdout.strip()
        assert b'"error"' not in printed.stdout


def test_no_command_line_shows_a_secret(system: System) -> None:
    lines, tokens = [], set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            lines.append(" ".join(process.cmdline()))
            tokens.add(process.environ().get("RAY_AUTH_TOKEN", ""))
    assert any("ServeReplica:blockyard:replica" in line for line in lines), "these are the system's"
    tokens.discard("")
    assert tokens, "Ray has a token"
    for secret in (PASSWORD, *tokens):
        assert not [line for line in lines if secret in line]
