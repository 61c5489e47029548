"""`python -m replicas` as a process: a real model behind the real data service."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpc import aio

from protos.messages import Request, RequestId, SamplingParams
from tests.integration.replica.gateway import Gateway

START_S = 120.0  # importing torch and writing the tiny model, on a busy machine


async def start(*arguments: str) -> Process:
    command = (sys.executable, "-m", "replicas", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """The process and its address; killed if the test has not ended it."""
    process = await start(*arguments)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        yield process, line.decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def result(*arguments: str) -> tuple[int | None, str]:
    """Exit code and standard error of a process that ends by itself."""
    process = await start(*arguments)
    _, errors = await asyncio.wait_for(process.communicate(), START_S)
    return process.returncode, errors.decode()


def greedy(name: str) -> Request:
    sampling = SamplingParams(tokens_max=12, temperature=0.0)
    return Request(RequestId(name), tuple(range(40, 80)), sampling)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_the_tiny_model_until_a_signal(number: signal.Signals) -> None:
    async with serving("--model", "tiny", "--blocks", "32") as (process, address):
        async with aio.insecure_channel(address) as channel:
            gateway = Gateway(channel)
            for name in ("cold", "warm"):
                await gateway.submit(greedy(name))
                await gateway.finished(greedy(name))
            assert gateway.tokens("cold") == gateway.tokens("warm")
            assert [gateway.deltas(name)[0].hit_tokens for name in ("cold", "warm")] == [0, 32]
            assert gateway.snapshot.blocks_total == 32
            gateway.call.cancel()
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), START_S) == 0


async def test_a_model_that_is_not_there_is_one_line_and_exit_code_2() -> None:
    code, errors = await result("--model", "no/such/model")
    assert code == 2
    assert errors.count("\n") == 1
    assert "There is no model at 'no/such/model'" in errors


async def test_a_promise_that_no_kernels_keep_is_one_line_and_exit_code_2() -> None:
    code, errors = await result("--model", "tiny", "--dtype", "float16", "--deterministic")
    assert code == 2
    assert errors.startswith("error: Deterministic kernels were asked for, and there are none")
    assert errors.count("\n") == 1


async def test_a_taken_port_is_one_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = await result("--model", "tiny", "--port", str(port))
    assert code == 2
    assert (
        errors == f"error: cannot listen on 127.0.0.1:{port}: [Errno 98] Address already in use\n"
    )
