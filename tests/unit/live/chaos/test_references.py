"""Each body is asked alone and in company, once, and what does not repeat proves nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

from orchestrator.live.chaos import poison
from orchestrator.live.chaos.references import COMPANY, References, key_of
from orchestrator.load.ask import Ask
from orchestrator.workload.heard import End, Heard


def ask(number: int, prompt: str) -> Ask:
    body = {"prompt": prompt, "cache_salt": f"run/{number}"}
    return Ask(number, "chat", "interactive", 1.5, body, 5.0, leaves_after_s=1.0, reads_per_s=2.0)


class Server:
    """Says a prompt in capitals, unless it was told to waver or to refuse."""

    def __init__(self, *, wavers: str = "", refuses: str = "") -> None:
        self.asked: list[Ask] = []
        self.at_once = self.at_once_max = 0
        self._wavers, self._refuses = wavers, refuses

    async def hear(self, one: Ask) -> Heard:
        self.asked.append(one)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        prompt = one.body["prompt"]
        end = End.REFUSED if prompt == self._refuses else End.ANSWERED
        said = prompt.upper() + ("!" * len(self.asked) if prompt == self._wavers else "")
        return Heard(one.number, one.tag, one.request_class, 0, 0, 1, end, said=(said,))


ASKS = [ask(number, prompt) for number, prompt in enumerate(("a", "b", "c", "d", "e", "a"))]


async def test_each_body_is_asked_once_alone_and_once_in_company() -> None:
    server, references = Server(), References()
    assert await references.learn(ASKS, server.hear) == 5
    assert Counter(key_of(one.body) for one in server.asked).most_common()[-1][1] == 2
    assert len(server.asked) == 10
    assert server.at_once_max == COMPANY
    assert references.expected(ASKS)[5] == ("A",)
    assert references.unrepeatable(ASKS) == 0


async def test_what_is_known_is_not_asked_again() -> None:
    server, references = Server(), References()
    await references.learn(ASKS, server.hear)
    asked = len(server.asked)
    assert await references.learn(ASKS[:3], server.hear) == 0
    assert len(server.asked) == asked


async def test_what_does_not_repeat_is_not_compared_and_is_counted() -> None:
    server, references = Server(wavers="a", refuses="b"), References()
    await references.learn(ASKS, server.hear)
    assert set(references.expected(ASKS)) == {2, 3, 4}
    assert references.unrepeatable(ASKS) == 2


async def test_calm_clients_neither_hurry_nor_leave_nor_share_a_salt() -> None:
    server = Server()
    await References().learn(ASKS, server.hear)
    for one in server.asked:
        assert one.leaves_after_s is None
        assert one.reads_per_s is None
        assert "cache_salt" not in one.body


async def test_poison_is_asked_of_nobody_in_peace() -> None:
    server, references = Server(), References()
    deadly = [ask(0, f"{poison.TEXT}x")]
    assert await references.learn(deadly, server.hear) == 0
    assert references.expected(deadly) == {}
    assert references.unrepeatable(deadly) == 0
