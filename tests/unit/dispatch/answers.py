"""What scripted answers should come to, and reading them."""

from __future__ import annotations

from protos.messages import Request
from tests.unit.dispatch.world import World


async def answer(made: World, what: Request) -> dict[int, list[int]]:
    """The tokens of every choice."""
    said: dict[int, list[int]] = {choice: [] for choice in range(what.choices)}
    async with await made.dispatch.start(what) as stream:
        async for delta in stream:
            assert delta.first_index == len(said[delta.choice])
            said[delta.choice] += [sampled.token for sampled in delta.tokens]
    return said


def whole(what: Request) -> dict[int, list[int]]:
    """An undisturbed answer."""
    indices = range(what.sampling.tokens_max)
    return {choice: [100 * choice + index for index in indices] for choice in range(what.choices)}
