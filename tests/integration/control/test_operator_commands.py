"""The operator's commands as they are typed, against a real control plane."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner, Result
from grpc import aio

from orchestrator.__main__ import blockyard
from protos.moves import MoveOutcome
from tests.integration.control.fleet import attached, directory, listening, server_of
from tests.integration.control.test_operator import CALM, FULL, MOVED, Pair, told
from tests.ports import free_ports
from tests.unit.control.reports import A, B


@dataclass
class Desk:
    """A pair of replicas, and commands that reach their control plane."""

    pair: Pair
    address: str

    async def run(self, *words: str) -> Result:
        line = [*words, "--control", self.address]
        return await asyncio.to_thread(CliRunner().invoke, blockyard, line)


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """Replica A is full and B has nothing. Commands are sent to the standby."""
    registry = directory()
    async with (
        listening(server_of(registry, CALM)) as leader,
        listening(server_of(registry, CALM)) as standby,
        aio.insecure_channel(leader) as channel,
    ):
        a = await attached(channel, told(A, *FULL))
        b = await attached(channel, told(B))
        yield Desk(Pair(None, a, b, channel), standby)


async def test_the_status_is_a_table_or_json() -> None:
    async with desk() as at:
        shown = await at.run("status")
        assert shown.exit_code == 0, shown.output
        assert "2 replicas" in shown.output
        told_ = json.loads((await at.run("status", "--json", "--sequences")).stdout)
        assert [r["replica"] for r in told_["replicas"]] == [A, B]
        assert [len(r["sequences"]) for r in told_["replicas"]] == [9, 0]
        assert told_["moves"] == []


async def test_cordon_and_uncordon_say_the_state_that_follows() -> None:
    async with desk() as at:
        assert (await at.run("cordon", A)).stdout == "a: cordoned\n"
        assert (await at.run("uncordon", A)).stdout == "a: active\n"
        unknown = await at.run("cordon", "x")
        assert (unknown.exit_code, unknown.stderr) == (1, "Error: no replica 'x' is attached\n")


async def test_a_move_says_what_it_cost() -> None:
    async with desk() as at:
        call = asyncio.create_task(at.run("move", "s0", "--to", B))
        await at.pair.a.obey_move(told(A, *FULL[1:], number=1), MOVED)
        moved = await call
        assert moved.exit_code == 0
        assert "s0/0 moved from a to b: 10 blocks sent" in moved.stdout


async def test_a_move_that_did_not_happen_is_a_failure() -> None:
    async with desk() as at:
        call = asyncio.create_task(at.run("move", "s0", "--to", B, "--json"))
        declined = replace(MOVED, outcome=MoveOutcome.DECLINED, detail="no room")
        await at.pair.a.obey_move(told(A, *FULL, number=1), declined)
        answer = await call
        assert answer.exit_code == 1
        record = json.loads(answer.stdout)
        assert (record["outcome"], record["detail"]) == ("declined", "no room")


async def test_a_drain_says_how_many_moved() -> None:
    async with desk() as at:
        call = asyncio.create_task(at.run("drain", B))
        await at.pair.b.next_command("standing")
        empty = replace(told(B, number=1).snapshot, draining=True)
        await at.pair.b.say(empty)
        drained = await call
        assert drained.exit_code == 0, drained.output
        assert "drained, 0 sequences left (0 moved, 0 handed back)" in drained.stderr


async def test_a_rebalance_is_shown_with_its_reasons_before_it_is_ordered() -> None:
    async with desk() as at:
        dry = await at.run("rebalance", "--dry-run")
        assert "moves that would be ordered" in dry.stdout
        assert "balance" in dry.stdout
        ordered = json.loads((await at.run("rebalance", "--json")).stdout)
        assert [move["target"] for move in ordered["moves"]] == [B]
        command = await at.pair.a.next_command("move")
        assert command.move.sequence_id == ordered["moves"][0]["sequence"]


async def test_decisions_tell_what_the_control_plane_remembers() -> None:
    async with desk() as at:
        shown = await at.run("decisions", "--replica", A)
        assert "attached" in shown.stdout
        (port,) = free_ports(1)
        asked = await at.run("decisions", "cmpl-s0", "--json", "--http-port", str(port))
        assert asked.exit_code == 1
        assert "no gateway answers" in asked.stderr
        assert "nothing is remembered of a request 'cmpl-s0'" in asked.stderr


async def test_a_knob_is_shown_and_turned() -> None:
    async with desk() as at:
        assert (await at.run("policy", "set", "gap_begin", "12")).stdout == "gap_begin = 12.0\n"
        shown = json.loads((await at.run("policy", "show", "--json")).stdout)
        assert (shown["gap_begin"], shown["enabled"]) == ("12.0", "off")
        wrong = await at.run("policy", "set", "speed", "1")
        assert wrong.exit_code == 1
        assert "no knob 'speed'" in wrong.stderr


@pytest.mark.parametrize("verb", [["status"], ["watch"], ["drain", "a"], ["policy", "show"]])
def test_without_a_control_plane_a_command_says_so(verb: list[str]) -> None:
    (port,) = free_ports(1)
    answer = CliRunner().invoke(blockyard, [*verb, "--control-port", str(port)])
    assert answer.exit_code == 1
    assert f"no control plane answers at 127.0.0.1:{port}" in answer.stderr


async def test_a_watch_goes_on_until_it_is_interrupted_and_then_ends_in_order() -> None:
    async with desk() as at:
        line = [sys.executable, "-m", "orchestrator", "watch", "--json", "--control", at.address]
        watching = await asyncio.create_subprocess_exec(
            *line, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert watching.stdout is not None
        first = json.loads(await asyncio.wait_for(watching.stdout.readline(), 120))
        assert [r["state"] for r in first["replicas"]] == ["active", "active"]
        watching.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(watching.communicate(), 120)
        assert (watching.returncode, errors) == (0, b"")
