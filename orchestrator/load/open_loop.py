"""Send every request when it is due, whatever became of the others.

A sender that waits for answers asks less of a server the slower it is, and so
hides exactly what it should measure. Here nothing waits: each request is a
task of its own from its due time on, and its latencies count from then. What
the sender itself cannot keep up with shows as `sent_s - due_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from orchestrator.load.ask import Ask, Clock
from orchestrator.load.stream import Patience, listen
from orchestrator.load.wire import Access, open_wire
from orchestrator.workload.heard import Heard

DEAF_S_MAX = 0.02  # how long a sender that is late sends without listening


async def open_loop(
    asks: Iterable[Ask],
    urls: Sequence[str],
    clock: Clock,
    *,
    resume: bool = False,
    access: Access | None = None,
    patience: Patience | None = None,
    on_heard: Callable[[Heard], None] = lambda heard: None,
) -> tuple[Heard, ...]:
    """What was heard of each, in order of number. `asks` come in order of time, when needed.

    Requests take turns at the urls. Who is cancelled hangs up everything; what
    had ended by then was given to `on_heard`.
    """
    heard: list[Heard] = []

    async def hear(ask: Ask) -> None:
        turn = ask.number % len(urls)
        in_turn = (*urls[turn:], *urls[:turn])
        one = await listen(in_turn, ask, clock, resume=resume, wire=wire, patience=patience)
        heard.append(one)
        on_heard(one)

    async with open_wire(access) as wire, asyncio.TaskGroup() as tasks:
        listened_s = clock()
        for ask in asks:
            # What is late goes at once, together; but who was sent before must get a word in.
            if ask.due_s > clock() or clock() - listened_s > DEAF_S_MAX:
                await asyncio.sleep(max(0.0, ask.due_s - clock()))
                listened_s = clock()
            tasks.create_task(hear(ask))
    return tuple(sorted(heard, key=lambda one: one.number))
