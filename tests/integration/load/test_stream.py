"""One client and a server that may do anything: every end has a name, nothing is heard twice."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from orchestrator.load.ask import Ask
from orchestrator.load.stream import Patience, listen
from orchestrator.workload.heard import End, Heard
from tests.integration.load.fake_server import Exchange, FakeServer, Script, event, finish, token
from tests.ports import free_ports
from tests.waiting import wait_for

GENEROUS_S = 60.0


def ask(**more: Any) -> Ask:
    body = {"model": "m", "prompt": "Say it.", "stream": True}
    return Ask(7, "A", "interactive", 0.0, body, **{"deadline_s": GENEROUS_S, **more})


async def heard_from(
    *urls: str, resume: bool = False, tries: int = 20, silence_s: float = GENEROUS_S, **more: Any
) -> Heard:
    began_s = time.monotonic()
    return await listen(
        urls,
        ask(**more),
        lambda: time.monotonic() - began_s,
        resume=resume,
        patience=Patience(tries=tries, first_s=silence_s, silence_s=silence_s),
    )


async def heard_of(script: Script, **more: Any) -> Heard:
    with FakeServer(script) as server:
        return await heard_from(server.url, **more)


async def test_a_whole_answer_is_heard_with_what_the_server_counted() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.tokens("One", " two", " three")
        await exchange.end(tokens=4, prompt_tokens=600, hit_tokens=592)

    heard = await heard_of(script)
    assert heard.end is End.ANSWERED
    assert heard.said == ("One two three",)
    assert (heard.tokens, heard.prompt_tokens, heard.hit_tokens) == (4, 600, 592)
    assert heard.first_s is not None and heard.last_s is not None
    assert 0 <= heard.sent_s <= heard.first_s <= heard.last_s <= heard.ended_s
    assert len(heard.gaps_s) == 2 and heard.gap_s == max(heard.gaps_s)


async def test_a_refusal_is_told_with_its_code_and_status() -> None:
    async def script(exchange: Exchange) -> None:
        exchange.refuse(429, "overloaded")

    heard = await heard_of(script)
    assert (heard.end, heard.code, heard.status) == (End.REFUSED, "overloaded", 429)


async def test_an_error_without_a_reason_is_no_refusal() -> None:
    async def script(exchange: Exchange) -> None:
        exchange.reply(502, b"<html>Bad Gateway</html>")

    heard = await heard_of(script)
    assert (heard.end, heard.code, heard.status) == (End.UNANSWERED, "http_502", 502)


@pytest.mark.parametrize(
    ("said", "end", "code"),
    [
        (event({"error": {"message": "m", "code": "too_much"}}), End.REFUSED, "too_much"),
        (token("a") + event({"error": {"message": "m", "code": "lost"}}), End.BROKEN, "lost"),
        (token("a") + finish(), End.BROKEN, "cut_short"),
        (token("a") + b"data: [DONE]\n\n", End.BROKEN, "no_finish_reason"),
        (b"", End.BROKEN, "cut_short"),
        (b"data: <html>\n\n", End.BROKEN, "not_events"),
        (b'data: {"choices": [7]}\n\n', End.BROKEN, "not_events"),
    ],
)
async def test_a_stream_that_ends_badly_says_how(said: bytes, end: End, code: str) -> None:
    async def script(exchange: Exchange) -> None:
        exchange.start()
        if said:
            await exchange.say(said)
        exchange.writer.write(b"0\r\n\r\n")

    heard = await heard_of(script)
    assert (heard.end, heard.code) == (end, code)


async def test_a_connection_that_is_cut_breaks_a_stream_that_had_begun() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.tokens("One")
        exchange.cut()

    heard = await heard_of(script)
    assert (heard.end, heard.code, heard.said) == (End.BROKEN, "connection_closed", ("One",))


async def test_who_never_answers_is_not_waited_for_beyond_the_deadline() -> None:
    async def script(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    heard = await heard_of(script, deadline_s=0.2)
    assert (heard.end, heard.code) == (End.UNANSWERED, "deadline")
    assert heard.ended_s >= 0.2


async def test_an_answer_that_is_too_slow_is_none() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.tokens("One")
        await asyncio.Event().wait()

    heard = await heard_of(script, deadline_s=10.0)
    assert (heard.end, heard.code, heard.said) == (End.UNANSWERED, "deadline", ("One",))


async def test_nobody_there_is_a_typed_failure() -> None:
    (port,) = free_ports(1)
    heard = await heard_from(f"http://127.0.0.1:{port}")
    assert (heard.end, heard.code, heard.connections) == (End.UNANSWERED, "connection_refused", 1)


async def test_a_client_that_leaves_hangs_up() -> None:
    hung_up: list[str] = []

    async def script(exchange: Exchange) -> None:
        try:
            while True:
                await exchange.tokens("on and on")
                await asyncio.sleep(0.01)
        except ConnectionError:
            hung_up.append(exchange.path)

    with FakeServer(script) as server:
        heard = await heard_from(server.url, leaves_after_s=5.0)
        assert heard.end is End.LEFT
        wait_for(lambda: hung_up, within_s=GENEROUS_S, what="the server sees it")


async def test_a_slow_client_leaves_what_it_has_not_read_to_the_server() -> None:
    """A client that took everything at once would let the server write it all."""
    written: list[list[int]] = []  # to each client
    padding = "x" * 1000

    async def script(exchange: Exchange) -> None:
        exchange.writer.transport.set_write_buffer_limits(high=0)
        mine: list[int] = []
        written.append(mine)
        for number in range(1000):
            mine.append(number)
            await exchange.tokens(padding)
        await exchange.end()

    with FakeServer(script, send_buffer_bytes=16_384) as server:
        heard = await heard_from(server.url, reads_per_s=2.0, leaves_after_s=7.0)
        assert heard.end is End.LEFT
        assert 0 < heard.tokens <= 16
        assert len(written[0]) < 150
        heard = await heard_from(server.url)
        assert (heard.end, len(written[1])) == (End.ANSWERED, 1000)
