"""What answers are held against on real processes: one kind of work is believed or it is not."""

from __future__ import annotations

from orchestrator.live.chaos.peace import Peace
from orchestrator.load.ask import Ask
from orchestrator.workload.heard import End, Heard

SHORT, LONG = 4, 40


def ask(number: int, tag: str, tokens: int) -> Ask:
    body = {"prompt": f"{tag}{number}", "max_tokens": tokens, "temperature": 0}
    return Ask(number, tag, "interactive", 0.0, body, deadline_s=60.0)


ASKS = (ask(1, "A", LONG), ask(2, "A", SHORT), ask(3, "B", SHORT), ask(4, "B", LONG))


class Server:
    """Says what it is asked, and another thing of one body when it is asked that again."""

    def __init__(self, wavers: str) -> None:
        self.asked: list[str] = []
        self._wavers = wavers

    async def hear(self, one: Ask) -> Heard:
        prompt: str = one.body["prompt"]
        again = prompt in self.asked and prompt == self._wavers
        self.asked.append(prompt)
        said = (f"{prompt}!" if again else prompt,)
        return Heard(one.number, one.tag, "", 0.0, 0.0, 0.1, End.ANSWERED, said=said)


async def expected(server: Server) -> dict[int, tuple[str, ...]]:
    peace = Peace()
    assert await peace.learn(ASKS, server.hear) == len(ASKS)
    return dict(peace.expected(ASKS))


async def test_of_each_kind_the_shortest_is_asked_again_alone() -> None:
    server = Server(wavers="")
    assert await expected(server) == {1: ("A1",), 2: ("A2",), 3: ("B3",), 4: ("B4",)}
    assert server.asked[len(ASKS) :] == ["A2", "B3"]


async def test_a_kind_that_says_something_else_alone_is_compared_with_nothing() -> None:
    assert await expected(Server(wavers="B3")) == {1: ("A1",), 2: ("A2",)}
