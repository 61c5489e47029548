"""A client goes on elsewhere with what it has, and hears what it is told: no more, no less."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from orchestrator.workload.heard import End, Heard
from tests.integration.load.fake_server import Exchange, FakeServer, Script, event, token
from tests.integration.load.test_stream import heard_from
from tests.ports import free_ports

WORDS = ("One", " two", " three", " four")


async def breaks(exchange: Exchange) -> None:
    """Two words, half of the third, and silence for ever."""
    await exchange.tokens(*WORDS[:2], ids=True)
    await exchange.say(token(WORDS[2], "at-3")[:-1])
    exchange.cut()


async def goes_on(exchange: Exchange) -> None:
    place = int(exchange.headers["last-event-id"].removeprefix("at-"))
    exchange.start(x_blockyard_resumed="true")
    await exchange.tokens(*WORDS[place:], ids=True, first=place)
    await exchange.end(tokens=4)


async def heard_through(*scripts: Script) -> tuple[Heard, list[FakeServer]]:
    with ExitStack() as servers:
        started = [servers.enter_context(FakeServer(script)) for script in scripts]
        return await heard_from(*(server.url for server in started), resume=True), started


async def test_a_broken_stream_goes_on_at_the_next_server_word_for_word() -> None:
    heard, (first, second) = await heard_through(breaks, goes_on)
    assert (heard.end, heard.said) == (End.ANSWERED, ("One two three four",))
    assert (heard.tokens, heard.connections) == (4, 2)
    (before,), (after,) = first.seen, second.seen
    assert "last-event-id" not in before.headers
    assert after.headers["last-event-id"] == "at-2", "half an event does not count"
    assert before.headers["x-request-id"] == after.headers["x-request-id"]
    assert before.body == after.body


async def test_without_resume_a_broken_stream_is_broken() -> None:
    with FakeServer(breaks) as server:
        heard = await heard_from(server.url, server.url)
    assert (heard.end, heard.connections, heard.said) == (End.BROKEN, 1, ("One two",))


@pytest.mark.parametrize(("lie", "said"), [(1, "One two two three four"), (3, "One two four")])
async def test_a_server_that_lies_about_where_it_goes_on_is_heard_as_it_spoke(
    lie: int, said: str
) -> None:
    """A client that patched this over would hide just what a verdict is for."""

    async def lies(exchange: Exchange) -> None:
        exchange.start(x_blockyard_resumed="true")
        await exchange.tokens(*WORDS[lie:])
        await exchange.end()

    heard, _ = await heard_through(breaks, lies)
    assert (heard.end, heard.said) == (End.ANSWERED, (said,))


async def test_a_server_that_begins_anew_is_not_heard_a_second_time() -> None:
    async def begins(exchange: Exchange) -> None:
        await exchange.tokens(*WORDS)
        await exchange.end()

    heard, _ = await heard_through(breaks, begins)
    assert (heard.end, heard.code, heard.said) == (End.BROKEN, "not_resumed", ("One two",))


async def test_a_stream_without_ids_cannot_go_on() -> None:
    async def anonymous(exchange: Exchange) -> None:
        await exchange.tokens(*WORDS[:2])
        exchange.cut()

    heard, (_, second) = await heard_through(anonymous, goes_on)
    assert (heard.end, heard.said, second.seen) == (End.BROKEN, ("One two",), [])


async def test_who_heard_nothing_yet_asks_anew() -> None:
    async def cuts(exchange: Exchange) -> None:
        exchange.cut()

    async def answers(exchange: Exchange) -> None:
        assert "last-event-id" not in exchange.headers
        await exchange.tokens(*WORDS)
        await exchange.end()

    heard, _ = await heard_through(cuts, answers)
    assert (heard.end, heard.connections) == (End.ANSWERED, 2)


async def test_a_server_in_trouble_is_asked_again_for_the_rest_of_a_stream() -> None:
    tries: list[str] = []

    async def is_starting(exchange: Exchange) -> None:
        tries.append(exchange.path)
        if len(tries) < 3:
            exchange.refuse(503, "no_replica")
        else:
            await goes_on(exchange)

    async def is_down(exchange: Exchange) -> None:
        if exchange.headers.get("last-event-id"):
            exchange.cut()
        else:
            await breaks(exchange)

    heard, _ = await heard_through(is_down, is_starting)
    assert (heard.end, heard.said) == (End.ANSWERED, ("One two three four",))
    assert heard.connections == 6


@pytest.mark.parametrize("said", [WORDS[:2], ()])
async def test_a_gateway_that_stops_is_left_for_the_next_one(said: tuple[str, ...]) -> None:
    async def stops(exchange: Exchange) -> None:
        if not said:
            return exchange.refuse(503, "gateway_stopping")
        await exchange.tokens(*said, ids=True)
        error = {"message": "this gateway is stopping", "code": "gateway_stopping"}
        return await exchange.say(event({"error": error}))

    async def answers(exchange: Exchange) -> None:
        if said:
            return await goes_on(exchange)
        await exchange.tokens(*WORDS)
        return await exchange.end()

    heard, _ = await heard_through(stops, answers)
    assert (heard.end, heard.said) == (End.ANSWERED, ("One two three four",))
    assert heard.connections == 2


async def test_a_refusal_to_go_on_is_the_reason_why_it_broke() -> None:
    async def refuses(exchange: Exchange) -> None:
        exchange.refuse(400, "resume_token_mismatch")

    heard, _ = await heard_through(breaks, refuses)
    assert (heard.end, heard.code) == (End.BROKEN, "resume_token_mismatch")


@pytest.mark.parametrize("said", [WORDS[:2], ()])
async def test_a_server_that_falls_silent_is_left_for_the_next_one(said: tuple[str, ...]) -> None:
    async def hangs(exchange: Exchange) -> None:
        await exchange.tokens(*said, ids=True)
        await asyncio.Event().wait()

    async def answers(exchange: Exchange) -> None:
        if said:
            return await goes_on(exchange)
        await exchange.tokens(*WORDS)
        return await exchange.end()

    with FakeServer(hangs) as first, FakeServer(answers) as second:
        heard = await heard_from(first.url, second.url, resume=True, silence_s=5.0)
    assert (heard.end, heard.said) == (End.ANSWERED, ("One two three four",))
    assert heard.connections == 2


async def test_tries_are_bounded() -> None:
    (port,) = free_ports(1)
    heard = await heard_from(f"http://127.0.0.1:{port}", resume=True, tries=4)
    assert (heard.end, heard.code) == (End.UNANSWERED, "connection_refused")
    assert heard.connections == 4


async def test_a_server_that_is_only_slow_is_waited_for_longer_in_each_round() -> None:
    """By a client that bears a tenth of what the server needs; else it would ask for ever."""

    async def is_slow(exchange: Exchange) -> None:
        await asyncio.sleep(1.0)
        await exchange.tokens(*WORDS)
        await exchange.end(tokens=4)

    with FakeServer(is_slow) as server:
        heard = await heard_from(server.url, resume=True, silence_s=0.1)
    assert (heard.end, heard.said) == (End.ANSWERED, ("One two three four",))
    # 0.1, 0.2, 0.4 and 0.8 s were not enough.
    assert heard.connections >= 5
