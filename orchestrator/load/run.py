"""One run from meeting the server to the last answer; what Ctrl-C leaves is kept."""

from __future__ import annotations

import asyncio
import resource
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestrator.load.ask import Ask
from orchestrator.load.open_loop import open_loop
from orchestrator.load.plan import Plan, Prompts
from orchestrator.load.progress import Tally, shown
from orchestrator.load.server import Server, first_model, meet
from orchestrator.load.wire import Access, open_wire
from orchestrator.load.words import Words
from orchestrator.workload.heard import Heard
from orchestrator.workload.traffic import NS_PER_S, Traffic


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of it."""

    heard: tuple[Heard, ...]
    ended_s: float
    under_way: int
    is_interrupted: bool
    busy: float  # share of a core that the sender took


def meet_server(plan: Plan, access: Access) -> Server:
    """The first url's. Raises CannotMeet."""

    async def meeting() -> Server:
        async with open_wire(access) as wire:
            url = plan.urls[0]
            model = plan.model or await first_model(url, wire)
            if plan.prompts is Prompts.IDS:
                return Server(model, is_chat=False)
            is_chat = plan.prompts is Prompts.CHAT
            return await meet(
                url,
                wire,
                model=model,
                is_chat=is_chat,
                words=Words(plan.seed),
                deadline_s=plan.deadline_s,
            )

    return asyncio.run(meeting())


def run(plan: Plan, traffic: Traffic, server: Server, access: Access) -> Ran:
    """Send everything and listen to the end, or until Ctrl-C."""
    _allow_all_descriptors()
    tally = Tally([arrival.arrival_ns / NS_PER_S for arrival in traffic.arrivals])
    asks = plan.asks(traffic, server, run_name=f"load-{secrets.token_hex(4)}")
    began_s, cpu_began_s = time.monotonic(), time.process_time()

    def clock() -> float:
        return time.monotonic() - began_s

    is_interrupted = False
    try:
        asyncio.run(_send(asks, plan, access, clock, tally, total=len(traffic.arrivals)))
    except KeyboardInterrupt:
        is_interrupted = True
    ended_s = clock()
    return Ran(
        heard=tuple(sorted(tally.heard, key=lambda one: one.number)),
        ended_s=ended_s,
        under_way=tally.under_way(ended_s),
        is_interrupted=is_interrupted,
        busy=(time.process_time() - cpu_began_s) / ended_s,
    )


async def _send(
    asks: Iterable[Ask],
    plan: Plan,
    access: Access,
    clock: Callable[[], float],
    tally: Tally,
    *,
    total: int,
) -> None:
    async with shown(tally, total, clock):
        await open_loop(
            asks, plan.urls, clock, resume=plan.is_resuming, access=access, on_heard=tally.add
        )


def _allow_all_descriptors() -> None:
    """A connection is a file; the system's bound for this process is the only one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
